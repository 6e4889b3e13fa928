"""The space of texts."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector.utils import batch_space

from text2sql_gym.spaces import Unicode


@pytest.mark.parametrize("text", ["", "<sql>", "naïve ☃ 統計\n\0", "x" * 100, np.str_("x")])
def test_texts_within_the_length_belong(text):
    assert text in Unicode(100)


@pytest.mark.parametrize("thing", ["x" * 101, b"x", 1, None, ["x"]])
def test_longer_texts_and_other_things_do_not_belong(thing):
    assert thing not in Unicode(100)


def test_samples_belong_and_repeat_with_the_seed():
    space, again = Unicode(100, seed=3), Unicode(100, seed=3)
    samples = [space.sample() for _ in range(50)]
    assert samples == [again.sample() for _ in range(50)]
    assert all(sample in space for sample in samples)
    assert len(set(samples)) > 40
    assert max(map(len, samples)) <= 64


def test_a_short_space_has_short_samples():
    space = Unicode(2, seed=0)
    assert {len(space.sample()) for _ in range(50)} == {0, 1, 2}


@pytest.mark.parametrize("options", [{"mask": 1}, {"probability": 1}])
def test_masks_are_refused(options):
    with pytest.raises(ValueError, match="neither a mask nor a probability"):
        Unicode(10).sample(**options)


def test_a_length_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Unicode(0)


def test_samples_survive_json():
    space = Unicode(10)
    assert space.from_jsonable(space.to_jsonable(("a", "ü"))) == ["a", "ü"]


def test_spaces_are_equal_by_length_and_print_it():
    assert Unicode(10) == Unicode(10, seed=1) != Unicode(11)
    assert Unicode(10) != gym.spaces.Text(10)
    assert repr(Unicode(10)) == "Unicode(10)"


def test_a_pickled_space_is_small_and_goes_on_alike():
    space = Unicode(1_000_000, seed=1)
    space.sample()
    stored = pickle.dumps(space)
    assert len(stored) < 2_000
    assert pickle.loads(stored).sample() == space.sample()


def test_gymnasium_can_batch_it_and_knows_it_is_no_array():
    assert ("a", "b") in batch_space(Unicode(10), 2)
    assert not Unicode(10).is_np_flattenable

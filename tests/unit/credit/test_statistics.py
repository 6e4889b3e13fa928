import numpy as np
import pytest

from agents.credit import ESTIMATORS, assign
from agents.credit.base import signals
from agents.credit.statistics import (
    centre,
    centre_within,
    normalize,
    standardize,
    standardize_within,
)

TENTH = np.array([0.1, 0.1, 0.1])  # their mean is 0.10000000000000002


def test_equal_numbers_are_exactly_zero_however_they_round():
    assert TENTH.mean() != 0.1
    for result in (
        standardize(TENTH, "unbiased", 0.0),
        centre(TENTH),
        centre_within(TENTH, np.array([0, 0, 0])),
        standardize_within(TENTH, np.array([0, 0, 1]), "unbiased", 0.0),
    ):
        assert result.tolist() == [0.0, 0.0, 0.0]


def test_each_pool_is_standardised_on_its_own():
    # 1, 3 around 2 with deviation sqrt 2; 5, 5 are equal; 7 is alone
    x, pool = np.array([1.0, 5.0, 3.0, 7.0, 5.0]), np.array([0, 1, 0, 2, 1])
    z = 1 / np.sqrt(2)
    np.testing.assert_allclose(standardize_within(x, pool, "unbiased", 0.0), [-z, 0, z, 0, 0])
    np.testing.assert_allclose(standardize_within(x, pool, "biased", 0.0), [-1, 0, 1, 0, 0])
    np.testing.assert_allclose(standardize_within(x, pool, "none", 0.0), [-1, 0, 1, 0, 0])


def test_a_number_of_a_pool_nobody_has_is_no_problem():
    assert standardize_within(np.array([1.0, 3.0]), np.array([2, 2]), "biased", 0.0).tolist() == [
        -1.0,
        1.0,
    ]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_leave_one_out_subtracts_the_mean_of_the_others(size):
    x = np.arange(size) ** 2.0
    others = [(x.sum() - value) / (size - 1) for value in x]
    ours = centre_within(x, np.zeros(size, int), leave_one_out=True)
    np.testing.assert_allclose(ours, x - others)


def test_mean_and_scale_may_come_from_different_pools():
    # group means 1 and 10 leave -1, 1, -4, 4: root mean square of all is sqrt(34 / 4)
    x, pool = np.array([0.0, 2.0, 6.0, 14.0]), np.array([0, 0, 1, 1])
    ours = normalize(x, pool, scale_over="batch", scale="biased", epsilon=0.0)
    np.testing.assert_allclose(ours, np.array([-1, 1, -4, 4]) / np.sqrt(8.5))
    # without a mean the scale is that of the raw numbers: sqrt 2 and sqrt 116
    raw = normalize(x, pool, mean_over="none", scale="biased", epsilon=0.0)
    np.testing.assert_allclose(raw, x / np.sqrt([2, 2, 116, 116]))


def one(name, outcomes, **options):
    (track,) = ESTIMATORS[name](**options)(signals(outcomes, [[0.0]] * len(outcomes)))
    return np.concatenate(track.advantages_GS).tolist()


def test_gpg_divides_by_its_norm():
    assert one("gpg", [1, 1, 0, 0], norm=4.0) == [0.25, 0.25, -0.25, -0.25]


def test_max_rl_adds_epsilon_to_the_mean():
    assert one("max_rl", [1, 0], epsilon=0.5) == [0.5, -0.5]


def test_lite_ppo_without_scale_is_the_distance_from_the_mean():
    assert one("lite_ppo", [1, 0], scale="none", around_batch_mean=True) == [0.5, -0.5]
    assert one("lite_ppo", [1, 1], epsilon=0.0, around_batch_mean=True) == [0.0, 0.0]


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo", "opo", "gpg", "max_rl", "tree_grpo"])
def test_a_lone_attempt_keeps_its_score_on_request(name):
    group = signals([0.75], [[0.0, 0.0]], learned_GS={"tokens": (np.ones(2),)})
    options = {"compare": "inter"} if name == "tree_grpo" else {}
    (track,) = ESTIMATORS[name](singleton="raw", **options)(group)
    assert track.advantages_GS[0].tolist() == [0.75, 0.75]


def test_a_lone_trajectory_keeps_its_score_in_gigpo_unless_its_steps_are_counted():
    group = signals([0.75], [[0.0, 0.0]], states_GS=(("a", "b"),))
    kept = ESTIMATORS["gigpo"](singleton="raw")(group)[0].advantages_GS[0]
    assert kept.tolist() == [0.75, 0.75]
    counted = ESTIMATORS["gigpo"](singleton="raw", count_steps=True)(group)[0].advantages_GS[0]
    assert counted.tolist() == [0.0, 0.0]


def test_a_lone_attempt_of_a_batch_keeps_its_distance_on_request():
    groups = [signals([1.0], [[0.0]]), signals([0.5, 0.5], [[0.0], [0.0]])]
    zero = assign(ESTIMATORS["reinforce_pp_baseline"](), groups)
    raw = assign(ESTIMATORS["reinforce_pp_baseline"](singleton="raw"), groups)
    assert zero[0][0].advantages_GS[0].tolist() == [0.0] < raw[0][0].advantages_GS[0].tolist()


def test_the_epsilon_of_a_normalization_is_a_millionth_unless_it_is_said():
    # 0 and 2 lie 1 from their mean, with deviation sqrt 2; -1e-6 and 1e-6 have a millionth of it
    x, pool = np.array([0.0, 2.0, -1e-6, 1e-6]), np.array([0, 0, 1, 1])
    expected = [1 / (2**0.5 + 1e-6), 1 / (2**0.5 + 1)]
    np.testing.assert_allclose(normalize(x, pool)[1::2], expected, rtol=1e-9)
    assert (normalize(x, pool) == normalize(x, pool, epsilon=1e-6)).all()

"""What a step of the warm start sees: a function of its number, dealt out by length."""

from collections import Counter

import pytest

from agents.warmstart import Imitation, WarmStart


@pytest.fixture
def learner(model):
    return WarmStart(model, Imitation(steps=40, batch_size=2), seed=3)


def test_a_step_sees_the_same_demonstrations_whenever_it_is_asked(learner, demonstrations):
    forwards = [learner._sample(demonstrations, step) for step in range(12)]
    backwards = [learner._sample(demonstrations, step) for step in reversed(range(12))]
    assert forwards == backwards[::-1]


def test_every_demonstration_is_seen_once_in_an_epoch(learner, demonstrations):
    steps = len(demonstrations) // 2
    assert steps % 4 == 0
    seen = Counter(id(d) for step in range(steps) for d in learner._sample(demonstrations, step))
    assert seen == Counter(id(demonstration) for demonstration in demonstrations)


def test_the_four_steps_of_a_block_divide_its_demonstrations_by_length(learner, demonstrations):
    for block in range(5):
        steps = [learner._sample(demonstrations, 4 * block + place) for place in range(4)]
        spans = sorted((min(d.tokens for d in s), max(d.tokens for d in s)) for s in steps)
        assert all(
            longest <= shortest
            for (_, longest), (shortest, _) in zip(spans, spans[1:], strict=False)
        )


def test_short_and_long_steps_come_in_no_fixed_order(learner, demonstrations):
    firsts = set()
    for block in range(8):
        steps = [learner._sample(demonstrations, 4 * block + place) for place in range(4)]
        tokens = [sum(d.tokens for d in step) for step in steps]
        firsts.add(sorted(range(4), key=tokens.__getitem__)[0])
    assert len(firsts) > 1


def test_the_rate_rises_then_falls_to_a_tenth():
    imitation = Imitation(steps=100, warmup=10, learning_rate=1.0)
    rates = [imitation.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert imitation.rate(100) == pytest.approx(0.1)

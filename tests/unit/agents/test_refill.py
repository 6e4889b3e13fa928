"""Sampling until the batch is full of groups that teach."""

import pytest
from rollout_records import attempt, group, step

from agents.refill import refill


def made(number, *outcomes, process=()):
    """A group named by its number, of attempts with these outcomes."""
    rewards = process or [0.0] * len(outcomes)
    steps = [step([1], [2], outcome=o, process=p) for o, p in zip(outcomes, rewards)]
    return group(*map(attempt, steps), task_id=str(number))


class Sampler:
    """Gives groups from a list, and writes down what it was asked for."""

    def __init__(self, *groups):
        self.left, self.asked = list(groups), []

    def __call__(self, round, wanted):
        self.asked.append((round, wanted))
        given, self.left = self.left[:wanted], self.left[wanted:]
        return given


def numbers(groups):
    return [int(one.task_id) for one in groups]


def mixed(number):
    return made(number, 1.0, 0.0)


def same(number):
    return made(number, 1.0, 1.0)


def test_groups_that_teach_nothing_are_replaced_until_the_batch_is_full():
    sampler = Sampler(mixed(0), same(1), same(2), same(3), mixed(4), mixed(5), mixed(6))
    filled = refill(sampler, 3, 10)
    assert sampler.asked == [(0, 3), (1, 2), (2, 1)]
    assert numbers(filled.batch) == [0, 4, 5]
    assert numbers(filled.sampled) == [0, 1, 2, 3, 4, 5] and filled.rounds == 3


def test_no_round_follows_a_full_batch():
    sampler = Sampler(mixed(0), mixed(1))
    assert refill(sampler, 2, 5).rounds == 1 and sampler.asked == [(0, 2)]


def test_rounds_are_bounded_and_what_was_found_is_trained_on():
    sampler = Sampler(same(0), mixed(1), same(2), mixed(3))
    filled = refill(sampler, 2, 2)
    assert numbers(filled.batch) == [1] and filled.rounds == 2
    assert numbers(filled.sampled) == [0, 1, 2]


def test_a_single_round_leaves_nothing_out():
    filled = refill(Sampler(same(0), mixed(1)), 2, 1)
    assert numbers(filled.batch) == numbers(filled.sampled) == [0, 1]


def test_where_no_group_teaches_there_is_still_a_batch():
    filled = refill(Sampler(same(0), same(1)), 1, 2)
    assert numbers(filled.batch) == [0, 1] and filled.rounds == 2


def test_process_rewards_teach_an_estimator_that_reads_them():
    shaped = made(0, 1.0, 1.0, process=[0.5, 0.0])
    assert refill(Sampler(shaped, mixed(1)), 1, 3).rounds == 2
    assert refill(Sampler(shaped, mixed(1)), 1, 3, process=True).rounds == 1


@pytest.mark.parametrize(("wanted", "rounds"), [(0, 1), (1, 0)])
def test_nothing_to_sample_is_refused(wanted, rounds):
    with pytest.raises(ValueError, match="wanted and rounds must be at least 1"):
        refill(Sampler(), wanted, rounds)

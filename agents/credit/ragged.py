"""Move between numbers per attempt, per step, and flat; rewards and returns of steps.

Shape suffixes: N all steps of all attempts of a group, one after the other; G attempts;
S steps of one attempt.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate

import numpy as np

from agents.credit.base import FloatArray, GroupSignals, Ragged
from agents.credit.statistics import IntArray


def concatenate(rows: Iterable[FloatArray]) -> FloatArray:
    """Join ragged rows into one flat array."""
    return np.concatenate(list(rows))


def spread(x_G: FloatArray, group: GroupSignals) -> FloatArray:
    """Repeat one number per attempt over the attempt's steps, flat."""
    return np.repeat(x_G, group.steps_G)


def split(x_N: FloatArray, group: GroupSignals) -> Ragged:
    """Cut a flat array back into one array per attempt."""
    return tuple([x_N[attempt] for attempt in slices(group)])


def constant(x_G: FloatArray, group: GroupSignals) -> Ragged:
    """Give every step of an attempt the attempt's number."""
    return split(spread(x_G, group), group)


def step_index(group: GroupSignals) -> IntArray:
    """Number the steps of every attempt from 0, flat; not to be written to."""
    return _step_index(group.steps_G)


def steps_left(group: GroupSignals) -> IntArray:
    """Number of steps that follow each step in its attempt, flat; 0 on the last. Read-only."""
    return _steps_left(group.steps_G)


# Groups of the same lengths recur, and these small arrays cost more than what is done with them.


def slices(group: GroupSignals) -> tuple[slice, ...]:
    """Where each attempt stands in flat arrays."""
    return _slices(group.steps_G)


@lru_cache(maxsize=4096)
def _slices(steps_G: tuple[int, ...]) -> tuple[slice, ...]:
    ends_G = list(accumulate(steps_G))
    return tuple(slice(a, b) for a, b in zip([0, *ends_G[:-1]], ends_G, strict=True))


@lru_cache(maxsize=4096)
def _step_index(steps_G: tuple[int, ...]) -> IntArray:
    return _read_only(np.concatenate([np.arange(steps) for steps in steps_G]))


@lru_cache(maxsize=4096)
def _steps_left(steps_G: tuple[int, ...]) -> IntArray:
    return _read_only(np.concatenate([np.arange(steps)[::-1] for steps in steps_G]))


def _read_only(array_N: IntArray) -> IntArray:
    array_N.flags.writeable = False
    return array_N


def attempt_sums(rows_GS: Ragged, group: GroupSignals) -> FloatArray:
    """The sum of each attempt's numbers."""
    return np.add.reduceat(np.concatenate(rows_GS), [attempt.start for attempt in slices(group)])


def episode_scores(group: GroupSignals, process_weight: float) -> FloatArray:
    """One score per attempt: its outcome plus the weighted sum of its process rewards."""
    if process_weight == 0.0:
        return group.outcome_G
    return np.asarray(group.outcome_G + process_weight * attempt_sums(group.process_GS, group))


def step_rewards(group: GroupSignals, process_weight: float) -> FloatArray:
    """One reward per step: the weighted process reward, plus the outcome on the last; flat."""
    rewards_N = process_weight * np.concatenate(group.process_GS)
    rewards_N[last_steps(group)] += group.outcome_G
    return rewards_N


def last_steps(group: GroupSignals) -> list[int]:
    """Where the last step of each attempt stands in flat arrays."""
    return [attempt.stop - 1 for attempt in slices(group)]


def returns(rewards_N: FloatArray, group: GroupSignals, gamma: float) -> FloatArray:
    """Discounted sum of rewards from each step to its attempt's end: R_t = r_t + gamma R_t+1.

    Flat over the steps of the group, as rewards_N is.
    """
    values = rewards_N.tolist()
    for attempt in slices(group):
        following = 0.0
        for t in range(attempt.stop - 1, attempt.start - 1, -1):
            following = values[t] = values[t] + gamma * following
    return np.array(values)

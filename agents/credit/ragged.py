"""Move between numbers per attempt, per step, and flat; rewards and returns of steps.

Shape suffixes: N all steps of all attempts of a group, one after the other; G attempts;
S steps of one attempt.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    ends_G = list(accumulate(group.steps_G))
    return tuple(x_N[a:b] for a, b in zip([0, *ends_G], ends_G, strict=False))


def constant(x_G: FloatArray, group: GroupSignals) -> Ragged:
    """Give every step of an attempt the attempt's number."""
    return tuple(np.full(steps, x) for x, steps in zip(x_G, group.steps_G, strict=True))


def step_index(group: GroupSignals) -> IntArray:
    """Number the steps of every attempt from 0, flat."""
    index_S = np.arange(max(group.steps_G))
    return np.concatenate([index_S[:steps] for steps in group.steps_G])


def steps_left(group: GroupSignals) -> IntArray:
    """Number of steps that follow each step in its attempt, flat; 0 on the last."""
    index_S = np.arange(max(group.steps_G))[::-1]
    return np.concatenate([index_S[index_S.size - steps :] for steps in group.steps_G])


def process_sums(group: GroupSignals) -> FloatArray:
    """The sum of each attempt's process rewards."""
    starts_G = np.cumsum([0, *group.steps_G[:-1]])
    return np.add.reduceat(np.concatenate(group.process_GS), starts_G)


def episode_scores(group: GroupSignals, process_weight: float) -> FloatArray:
    """One score per attempt: its outcome plus the weighted sum of its process rewards."""
    if process_weight == 0.0:
        return group.outcome_G
    return np.asarray(group.outcome_G + process_weight * process_sums(group))


def step_rewards(group: GroupSignals, process_weight: float) -> Ragged:
    """One reward per step: the weighted process reward, plus the outcome on the last step."""
    rewards_GS = tuple(process_weight * process_S for process_S in group.process_GS)
    for outcome, rewards_S in zip(group.outcome_G, rewards_GS, strict=True):
        rewards_S[-1] += outcome
    return rewards_GS


def returns(rewards_S: FloatArray, gamma: float) -> FloatArray:
    """Discounted sum of the rewards from each step to the end: R_t = r_t + gamma R_t+1."""
    if gamma == 1.0:
        return np.cumsum(rewards_S[::-1])[::-1]
    values = rewards_S.tolist()
    for t in range(len(values) - 2, -1, -1):
        values[t] += gamma * values[t + 1]
    return np.array(values)

"""Group statistics and ragged bookkeeping that the estimators share.

Shape suffixes: N all steps of all attempts of a group, one after the other; G attempts; S steps.
Everything is float64. A pool whose numbers are all equal has exactly zero advantage: this is
decided by ``max == min`` before any arithmetic, because the mean of 0.1 three times is
0.10000000000000002 and dividing that error by a tiny deviation makes it large.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from agents.credit.base import FloatArray, GroupSignals, Ragged

Scale = Literal["unbiased", "biased", "none"]
"""Divide by the standard deviation with n - 1, with n, or not at all."""

IntArray = npt.NDArray[np.int64]


def standardize(x_N: FloatArray, scale: Scale, epsilon: float) -> FloatArray:
    """Return ``(x - mean) / (std + epsilon)``, or ``x - mean`` with scale "none".

    Equal numbers, and so a single number, give exactly zero.
    """
    if x_N.max() == x_N.min():
        return np.zeros_like(x_N)
    centred_N = np.asarray(x_N - x_N.mean())
    if scale == "none":
        return centred_N
    variance = centred_N @ centred_N / (x_N.size - (scale == "unbiased"))
    return np.asarray(centred_N / (np.sqrt(variance) + epsilon))


def standardize_within(
    x_N: FloatArray, pool_N: IntArray, scale: Scale, epsilon: float
) -> FloatArray:
    """`standardize` each pool on its own; `pool_N` numbers the pools from 0."""
    size_P = np.bincount(pool_N)
    centred_N = x_N - (np.bincount(pool_N, x_N) / np.maximum(size_P, 1))[pool_N]
    centred_N[_is_constant(x_N, pool_N, size_P.size)] = 0.0
    if scale == "none":
        return centred_N
    freedom_P = np.maximum(size_P - (scale == "unbiased"), 1)
    deviation_P = np.sqrt(np.bincount(pool_N, centred_N**2) / freedom_P)
    # a constant pool has deviation 0; the sum below must not be 0 / 0 when epsilon is 0
    divisor_P = np.where(deviation_P == 0, 1.0, deviation_P + epsilon)
    return np.asarray(centred_N / divisor_P[pool_N])


def _is_constant(x_N: FloatArray, pool_N: IntArray, pools: int) -> npt.NDArray[np.bool_]:
    lowest_P, highest_P = np.full(pools, np.inf), np.full(pools, -np.inf)
    np.minimum.at(lowest_P, pool_N, x_N)
    np.maximum.at(highest_P, pool_N, x_N)
    return np.asarray((lowest_P == highest_P)[pool_N])


def spread(x_G: FloatArray, group: GroupSignals) -> FloatArray:
    """Repeat one number per attempt over the attempt's steps, flat."""
    return np.repeat(x_G, group.steps_G)


def split(x_N: FloatArray, group: GroupSignals) -> Ragged:
    """Cut a flat array back into one array per attempt."""
    ends_G = list(accumulate(group.steps_G))
    return tuple(x_N[a:b] for a, b in zip([0, *ends_G], ends_G, strict=False))


def step_index(group: GroupSignals) -> IntArray:
    """Number the steps of every attempt from 0, flat."""
    return np.concatenate([np.arange(steps) for steps in group.steps_G])


def steps_left(group: GroupSignals) -> IntArray:
    """Number of steps that follow each step in its attempt, flat; 0 on the last."""
    return np.concatenate([np.arange(steps)[::-1] for steps in group.steps_G])


def episode_scores(group: GroupSignals, process_weight: float) -> FloatArray:
    """One score per attempt: its outcome plus the weighted sum of its process rewards."""
    if process_weight == 0.0:
        return group.outcome_G
    sums_G = np.array([process_S.sum() for process_S in group.process_GS])
    return np.asarray(group.outcome_G + process_weight * sums_G)


def check_choice(owner: str, name: str, value: str, allowed: object) -> None:
    """Raise ValueError unless `value` is one of the literals of the type `allowed`."""
    choices = get_args(allowed)
    if value not in choices:
        raise ValueError(f"{owner}: {name} must be one of {choices}, got {value!r}")


def check_range(owner: str, low: float, high: float, **values: float) -> None:
    """Raise ValueError naming the first value outside [low, high]."""
    for name, value in values.items():
        if not low <= value <= high:
            raise ValueError(f"{owner}: {name} must be in [{low}, {high}], got {value!r}")


def concatenate(rows: Iterable[FloatArray]) -> FloatArray:
    """Join ragged rows into one flat array."""
    return np.concatenate(list(rows))

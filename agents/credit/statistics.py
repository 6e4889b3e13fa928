"""Group statistics that the estimators share.

Shape suffixes: N all numbers of a pool, e.g. the steps of all attempts one after the other;
P pools.
Everything is float64. A pool whose numbers are all equal has exactly zero advantage: this is
decided by comparing before any arithmetic, because the mean of 0.1 three times is
0.10000000000000002 and dividing that error by a tiny deviation makes it large.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agents.credit.base import FloatArray

Scale = Literal["unbiased", "biased", "none"]
"""Divide by the standard deviation with n - 1, with n, or not at all."""

Over = Literal["group", "batch", "none"]
"""Over which pool a mean or a deviation is taken: each group, everything, or not at all."""

Singleton = Literal["zero", "raw"]
"""What a lone attempt gets: nothing, or its raw score as verl and others do."""

IntArray = npt.NDArray[np.int64]


def standardize(x_N: FloatArray, scale: Scale, epsilon: float) -> FloatArray:
    """Return ``(x - mean) / (std + epsilon)``, or ``x - mean`` with scale "none".

    Equal numbers, and so a single number, give exactly zero.
    """
    if is_constant(x_N):
        return np.zeros_like(x_N)
    centred_N = np.asarray(x_N - x_N.sum() / x_N.size)
    if scale == "none":
        return centred_N
    variance = (centred_N @ centred_N) / (x_N.size - (scale == "unbiased"))
    return np.asarray(centred_N / (np.sqrt(variance) + epsilon))


def is_constant(x_N: FloatArray) -> bool:
    """Say whether all numbers are exactly equal."""
    return bool((x_N == x_N[0]).all())


def centre(x_G: FloatArray, singleton: Singleton = "zero") -> FloatArray:
    """Return ``x - mean``; equal numbers give exactly zero, a lone one zero or itself."""
    if x_G.size == 1 and singleton == "raw":
        return x_G
    return standardize(x_G, "none", 0.0)


def standardize_within(
    x_N: FloatArray, pool_N: IntArray, scale: Scale, epsilon: float
) -> FloatArray:
    """`standardize` each pool on its own; `pool_N` numbers the pools from 0."""
    return scale_within(centre_within(x_N, pool_N), pool_N, scale, epsilon)


def centre_within(
    x_N: FloatArray, pool_N: IntArray, *, leave_one_out: bool = False
) -> FloatArray:
    """Subtract from each number the mean of its pool, or of the others in its pool.

    A pool of equal numbers, and so a pool of one, gives exactly zero.
    """
    size_P = np.maximum(np.bincount(pool_N), 1)
    centred_N = np.asarray(x_N - (np.bincount(pool_N, x_N) / size_P)[pool_N])
    centred_N[_in_constant_pool(x_N, pool_N, size_P.size)] = 0.0
    if leave_one_out:
        # x - mean of the others = (x - mean) n / (n - 1)
        centred_N *= (size_P / np.maximum(size_P - 1, 1))[pool_N]
    return centred_N


def scale_within(
    centred_N: FloatArray, pool_N: IntArray, scale: Scale, epsilon: float
) -> FloatArray:
    """Divide by the root mean square of the pool plus epsilon, so center first.

    "unbiased" divides the sum of squares by n - 1. A pool of zeros stays zero.
    """
    if scale == "none":
        return centred_N
    freedom_P = np.maximum(np.bincount(pool_N) - (scale == "unbiased"), 1)
    deviation_P = np.sqrt(np.bincount(pool_N, centred_N**2) / freedom_P)
    # not 0 / 0 for a pool of zeros when epsilon is 0
    divisor_P = np.where(deviation_P == 0, 1.0, deviation_P + epsilon)
    return np.asarray(centred_N / divisor_P[pool_N])


def normalize(
    x_N: FloatArray,
    pool_N: IntArray,
    *,
    mean_over: Over = "group",
    scale_over: Over = "group",
    leave_one_out: bool = False,
    scale: Scale = "unbiased",
    epsilon: float = 1e-6,
) -> FloatArray:
    """Center and scale over pools chosen on their own, as AReaL's ``Normalization`` does.

    `pool_N` numbers the groups; "batch" takes all numbers as one pool and "none" leaves the
    step out. Without a mean the scale is the root mean square of the raw numbers. The scale is
    taken around the mean that was subtracted, also when mean and scale differ in their pools.
    """
    if mean_over != "none":
        x_N = centre_within(x_N, _pool(pool_N, mean_over), leave_one_out=leave_one_out)
    if scale_over == "none":
        return x_N
    return scale_within(x_N, _pool(pool_N, scale_over), scale, epsilon)


def _pool(pool_N: IntArray, over: Over) -> IntArray:
    return pool_N if over == "group" else np.zeros_like(pool_N)


def _in_constant_pool(x_N: FloatArray, pool_N: IntArray, pools: int) -> npt.NDArray[np.bool_]:
    """Mark the numbers of pools in which every number is the same."""
    one_P = np.empty(pools)
    one_P[pool_N] = x_N  # some member of each pool
    others_P = np.bincount(pool_N, x_N != one_P[pool_N], minlength=pools)
    return np.asarray(others_P[pool_N] == 0)

"""Statistics over runs, as Agarwal et al. 2021 (arXiv:2108.13264) recommend them.

By scipy: the interquartile mean is `trim_mean`, its interval a percentile bootstrap that resamples
runs within each stratum (`bootstrap` with one sample per stratum), the probability of improvement
the statistic of Mann and Whitney. rliable has the same formulas, and brings arch, statsmodels and
seaborn for them.

Shape suffixes: R runs (seeds), K strata (grades of difficulty).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


def interquartile_mean(scores_RK: Numbers) -> float:
    """Mean of the middle half of all scores; a quarter is cut at either end."""
    return float(stats.trim_mean(scores_RK, 0.25, axis=None))


def with_interval(scores_RK: Numbers, *, resamples: int = 2_000) -> Estimate:
    """Interquartile mean and its interval; runs are resampled within each stratum.

    A single run, or runs that all agree, have an interval without width.
    """
    value = interquartile_mean(scores_RK)
    if len(scores_RK) < 2 or (scores_RK == scores_RK[0]).all():
        return Estimate(value, value, value)

    def statistic(*strata_R: Numbers, axis: int) -> Numbers:
        joined = np.concatenate(strata_R, axis=axis)
        return np.asarray(stats.trim_mean(joined, 0.25, axis=axis))

    found = stats.bootstrap(
        tuple(scores_RK.T),
        statistic,
        n_resamples=resamples,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(value, float(found.low), float(found.high))


def probability_of_improvement(better_RK: Numbers, worse_RK: Numbers) -> float:
    """Chance that a run of the first beats one of the second, ties counting half; over strata."""
    chances = [
        stats.mannwhitneyu(one_R, two_R).statistic / (len(one_R) * len(two_R))
        for one_R, two_R in zip(better_RK.T, worse_RK.T, strict=True)
    ]
    return float(np.mean(chances))

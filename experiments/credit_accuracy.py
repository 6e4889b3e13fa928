"""How close credit comes to the true advantage of steps, in numbers free of its unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.credit import Credit
from agents.credit.base import FloatArray, Ragged

SMALL = 1e-9
"""a true advantage or a credit below this is none"""


@dataclass(frozen=True)
class Accuracy:
    """Credit against truth over many steps.

    correlation   Pearson's, in [-1, 1]; 0 where the credit is constant
    sign          share of the steps with a true advantage whose credit has its sign; a credit of
                  0 has none
    leak          root mean square credit of the steps without a true advantage, relative to that
                  of all steps: 0 is right; NaN where there is no such step or no credit
    """

    correlation: float
    sign: float
    leak: float


def accuracy(truth_N: FloatArray, credit_N: FloatArray) -> Accuracy:
    """Compare the credit of steps with their true advantages."""
    idle_N = np.abs(truth_N) < SMALL
    signed_N = np.where(np.abs(credit_N) < SMALL, 0.0, np.sign(credit_N))
    agree = float((signed_N == np.sign(truth_N))[~idle_N].mean()) if not idle_N.all() else np.nan
    overall = rms(credit_N)
    leak = rms(credit_N[idle_N]) / overall if idle_N.any() and overall > SMALL else np.nan
    return Accuracy(correlation(truth_N, credit_N), agree, float(leak))


def correlation(x_N: FloatArray, y_N: FloatArray) -> float:
    """Pearson's correlation, 0 where one of the two is constant."""
    if x_N.std() < SMALL or y_N.std() < SMALL:
        return 0.0
    return float(np.corrcoef(x_N, y_N)[0, 1])


def rms(x_N: FloatArray) -> float:
    """Root mean square."""
    return float(np.sqrt((x_N**2).mean()))


def total(credit: Credit) -> Ragged:
    """All tracks of a credit as one number per step: what moves the policy there."""
    sums_GS = tuple(np.zeros_like(steps_S) for steps_S in credit[0].advantages_GS)
    for track in credit:
        for attempt, advantages_S in enumerate(track.advantages_GS):
            on_S = 1.0 if track.mask_GS is None else track.mask_GS[attempt]
            sums_GS[attempt][:] += track.weight * advantages_S * on_S
    return sums_GS

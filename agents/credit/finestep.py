"""FineStep: discounted outcome and smoothed process reward, each compared with the group.

The paper's equations are not public in text form; everything below the abstract's words
"discounting, smoothing, and normalization" is a reconstruction and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from agents.credit.base import Credit, FloatArray, GroupSignals, Track
from agents.credit.ragged import concatenate, slices, split, spread, step_index, steps_left
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Scale, is_constant, standardize, standardize_within

Norm = Literal["sep_pooled", "joint", "separate", "index"]
Smooth = Literal["backward", "forward", "window", "none"]


@dataclass(frozen=True)
class FineStep:
    """Mix what an attempt achieved, discounted to each step, with what each step did.

        temporal  o_it = gamma^(T_i - t) * outcome_i
        logical   q_iT = process_iT,  q_it = (1 - alpha) process_it + alpha q_i,t+1
        group     Z(x_it) = (x_it - mean x) / (std x + epsilon)  over all steps of all attempts

        norm "sep_pooled" (D2)  A = lam Z(o) + (1 - lam) Z(q)
        norm "joint"      (D1)  A = Z(lam o + (1 - lam) q)
        norm "separate"   (D3)  A = lam gamma^(T_i - t) Z_G(outcome_i) + (1 - lam) Z(q)
        norm "index"      (D4)  as "joint", but step t is compared with the t-th steps only

    `smooth`: "backward" is the recursion above, so credit flows from a step to the steps that
    enabled it; "forward" is the same recursion from the first step on; "window" mixes a step
    with the mean of its direct neighbours; "none" leaves the process reward as it is.

    Units: standard deviations. "sep_pooled" and "separate" do not change when process rewards
    are replaced by a * process + b with a > 0 (up to epsilon); "joint" and "index" do.
    With "separate" and lam = gamma = 1 this is GRPO.

    Degenerate groups: equal process rewards have a zero process term and equal outcomes a zero
    outcome term, whatever the lengths, as long as `guard` is on; without it the discount alone
    grades the position of a step. A pool of one number is zero.

    Source: Dai et al. 2026, arXiv:2605.04719. Its abstract names discounting, smoothing and
    normalization over temporal, logical and group-relative dimensions. RECONSTRUCTION, our
    choice: the order of the three, all four formulas, gamma, alpha, epsilon, `guard`, and
    lam = 0.5 (for mathematics the paper states 0.8 and calls it a larger weight).
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "process")
    granularity: ClassVar[str] = "step"
    source: ClassVar[str] = "Dai et al. 2026, arXiv:2605.04719, reconstructed"

    norm: Norm = "sep_pooled"
    gamma: float = 0.9
    lam: float = 0.5
    alpha: float = 0.3
    smooth: Smooth = "backward"
    guard: bool = True
    scale: Scale = "unbiased"
    epsilon: float = 1e-4

    def __post_init__(self) -> None:
        check_choice(self, "norm", Norm)
        check_choice(self, "smooth", Smooth)
        check_choice(self, "scale", Scale)
        check_range(self, 0.0, 1.0, "gamma", "lam", "alpha")
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equations."""
        outcome_N = self._outcome(group)
        process_N = self._process(group)
        if self.norm in ("joint", "index"):
            mixed_N = self.lam * outcome_N + (1 - self.lam) * process_N
            credit_N = self._normalize(mixed_N, group)
        else:
            process_N = standardize(process_N, self.scale, self.epsilon)
            credit_N = self.lam * outcome_N + (1 - self.lam) * process_N
        return (Track(split(credit_N, group)),)

    def _outcome(self, group: GroupSignals) -> FloatArray:
        """The outcome at each step: discounted, and standardised for the "sep" norms."""
        outcome_G = group.outcome_G
        discount_N = self.gamma ** steps_left(group)
        if self.norm == "separate":
            standard_G = standardize(outcome_G, self.scale, self.epsilon)
            return np.asarray(discount_N * spread(standard_G, group))
        if self.guard and is_constant(outcome_G):
            return np.zeros_like(discount_N)
        discounted_N = discount_N * spread(outcome_G, group)
        if self.norm == "sep_pooled":
            return standardize(discounted_N, self.scale, self.epsilon)
        return np.asarray(discounted_N)

    def _process(self, group: GroupSignals) -> FloatArray:
        """The smoothed process reward of each step, in the reward's own units."""
        return SMOOTHINGS[self.smooth](concatenate(group.process_GS), group, self.alpha)

    def _normalize(self, mixed_N: FloatArray, group: GroupSignals) -> FloatArray:
        if self.norm == "index":
            return standardize_within(mixed_N, step_index(group), self.scale, self.epsilon)
        return standardize(mixed_N, self.scale, self.epsilon)


def smooth_backward(process_N: FloatArray, group: GroupSignals, alpha: float) -> FloatArray:
    """Mix each step with the smoothed step after it; the last step keeps its reward."""
    values = process_N.tolist()
    for attempt in slices(group):
        for t in range(attempt.stop - 2, attempt.start - 1, -1):
            # in this form equal rewards stay exactly equal; (1 - alpha) r + alpha q rounds
            values[t] += alpha * (values[t + 1] - values[t])
    return np.array(values)


def smooth_forward(process_N: FloatArray, group: GroupSignals, alpha: float) -> FloatArray:
    """Mix each step with the smoothed step before it; the first step keeps its reward."""
    values = process_N.tolist()
    for attempt in slices(group):
        for t in range(attempt.start + 1, attempt.stop):
            values[t] += alpha * (values[t - 1] - values[t])
    return np.array(values)


def smooth_window(process_N: FloatArray, group: GroupSignals, alpha: float) -> FloatArray:
    """Mix each step with the mean of its neighbours; an end has one, a lone step none."""
    before_N, after_N = np.roll(process_N, 1), np.roll(process_N, -1)
    for attempt in slices(group):
        first, last = attempt.start, attempt.stop - 1
        if first == last:
            before_N[first] = after_N[first] = process_N[first]
        else:
            before_N[first], after_N[last] = after_N[first], before_N[last]
    neighbours_N = 0.5 * (before_N + after_N)
    return np.asarray(process_N + alpha * (neighbours_N - process_N))


def _no_smoothing(process_N: FloatArray, group: GroupSignals, alpha: float) -> FloatArray:
    return process_N


SMOOTHINGS: Mapping[str, Callable[[FloatArray, GroupSignals, float], FloatArray]] = {
    "backward": smooth_backward,
    "forward": smooth_forward,
    "window": smooth_window,
    "none": _no_smoothing,
}

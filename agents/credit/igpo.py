"""IGPO: the reward of a step is how much more likely it made the gold answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from agents.credit.base import Credit, FloatArray, GroupSignals, Ragged, Track
from agents.credit.ragged import concatenate, last_steps, returns, split
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Scale, centre_within, standardize

Form = Literal["paper", "released"]


@dataclass(frozen=True)
class Igpo:
    """Credit each step with the discounted, standardised information gains from itself on.

        r_it = information_gain_it for t < T,  r_iT = outcome_i
        "paper"     A_it = sum_k gamma^k z_i,t+k,  z the standardised r over all steps of the group
        "released"  A_it = R_it - mean_j R_jt,     R_it = r_it + ... + r_iT, 0 after the end

    information_gain_t = P(gold | history up to t) - P(gold | history up to t - 1) with P the
    geometric mean of the policy's probabilities of the gold answer's tokens. The gain of the last
    step is not used.

    Units: "paper": standard deviations, summed over the steps left; "released": reward units.

    Degenerate groups: equal rewards everywhere give exactly zero; "released" gives a single
    attempt zero.

    Our choice: the divisor of the deviation and epsilon, which the paper does not state. The
    authors' code compares token positions where "released" compares steps, since the same
    position of two attempts is rarely the same step.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "information_gain")
    granularity: ClassVar[str] = "step"
    source: ClassVar[str] = "Wang et al. 2025, arXiv:2510.14967"

    form: Form = "paper"
    gamma: float = 1.0
    scale: Scale = "unbiased"
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_choice(self, "form", Form)
        check_choice(self, "scale", Scale)
        check_range(self, 0.0, 1.0, "gamma")
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equations."""
        rewards_N = concatenate(group.learned("information_gain"))
        rewards_N[last_steps(group)] = group.outcome_G
        if self.form == "released":
            return (Track(_above_the_mean_at_each_index(rewards_N, group)),)
        standard_N = standardize(rewards_N, self.scale, self.epsilon)
        return (Track(split(returns(standard_N, group, self.gamma), group)),)


def _above_the_mean_at_each_index(rewards_N: FloatArray, group: GroupSignals) -> Ragged:
    """Undiscounted returns less their mean at the same step; an attempt that ended counts as 0."""
    returns_GS = split(returns(rewards_N, group, 1.0), group)
    returns_GI = np.zeros((len(returns_GS), max(group.steps_G)))
    for row_I, returns_S in zip(returns_GI, returns_GS, strict=True):
        row_I[: returns_S.size] = returns_S
    index_GI = np.broadcast_to(np.arange(returns_GI.shape[1]), returns_GI.shape)
    credit_GI = centre_within(returns_GI.ravel(), index_GI.ravel()).reshape(returns_GI.shape)
    return tuple(row_I[:steps] for row_I, steps in zip(credit_GI, group.steps_G, strict=True))

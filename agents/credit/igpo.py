"""IGPO: the reward of a step is how much more likely it made the gold answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from agents.credit.base import Credit, GroupSignals, Ragged, Track
from agents.credit.ragged import concatenate, returns, split
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
    attempt zero. The divisor of the deviation and epsilon are not in the paper: choices made here.
    The authors' code compares token positions where "released" compares steps, since the same
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
        rewards_GS = turn_rewards(group)
        if self.form == "released":
            return (Track(_above_the_mean_at_each_index(rewards_GS)),)
        standard_N = standardize(concatenate(rewards_GS), self.scale, self.epsilon)
        return (Track(tuple(returns(z_S, self.gamma) for z_S in split(standard_N, group))),)


def turn_rewards(group: GroupSignals) -> Ragged:
    """The information gains with the outcome in the place of the last."""
    rewards_GS = tuple(gain_S.copy() for gain_S in group.learned("information_gain"))
    for outcome, rewards_S in zip(group.outcome_G, rewards_GS, strict=True):
        rewards_S[-1] = outcome
    return rewards_GS


def _above_the_mean_at_each_index(rewards_GS: Ragged) -> Ragged:
    """Undiscounted returns less their mean at the same step; an attempt that ended counts as 0."""
    longest = max(rewards_S.size for rewards_S in rewards_GS)
    returns_GI = np.zeros((len(rewards_GS), longest))
    for returns_I, rewards_S in zip(returns_GI, rewards_GS, strict=True):
        returns_I[: rewards_S.size] = returns(rewards_S, 1.0)
    index_GI = np.broadcast_to(np.arange(longest), returns_GI.shape)
    credit_GI = centre_within(returns_GI.ravel(), index_GI.ravel()).reshape(returns_GI.shape)
    return tuple(row_I[: r_S.size] for row_I, r_S in zip(credit_GI, rewards_GS, strict=True))

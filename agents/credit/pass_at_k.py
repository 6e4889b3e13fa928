"""Pass@k GRPO: only the best attempt is credited, by its lead over the second best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, GroupSignals, Track
from agents.credit.ragged import constant, episode_scores
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Scale, standardize


@dataclass(frozen=True)
class PassAtK:
    """The best attempt gets its lead over the second best; all others get zero.

        A_it = (S_best - S_second) / (std(S) + epsilon)   for i = best, else 0

    This rewards a group for its maximum, so it does not push attempts to be alike.

    Units: standard deviations of the group's scores (`scale` "none": units of the score).

    Degenerate groups: a tie for the best place gives zero to everybody, whatever the order.
    A single attempt has no second and gives zero (our choice; verl refuses it).

    Source: ``grpo_passk`` of verl, a leave-one-out form of the maximum.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome",)
    granularity: ClassVar[str] = "attempt"
    source: ClassVar[str] = "verl, estimator grpo_passk; arXiv:2503.19595"

    scale: Scale = "unbiased"
    epsilon: float = 1e-6
    process_weight: float = 0.0

    def __post_init__(self) -> None:
        check_choice(self, "scale", Scale)
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equation."""
        scores_G = episode_scores(group, self.process_weight)
        credit_G = np.zeros_like(scores_G)
        if scores_G.size > 1:
            # differences of standard scores are differences in deviations
            *_, second, best = sorted(standardize(scores_G, self.scale, self.epsilon).tolist())
            credit_G[scores_G.argmax()] = best - second
        return (Track(constant(credit_G, group)),)

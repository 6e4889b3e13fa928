"""GRPO: an attempt is credited with how far its score is from the group's mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, FloatArray, GroupSignals, Track
from agents.credit.ragged import constant, episode_scores
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Scale, Singleton, standardize


@dataclass(frozen=True)
class Grpo:
    """Every step of an attempt gets the attempt's standardised score.

        S_i   = outcome_i + process_weight * sum_t process_it
        A_it  = (S_i - mean(S)) / (std(S) + epsilon)

    Units: standard deviations of the group's scores (`scale` "none": units of the score).

    Degenerate groups: equal scores give exactly zero. A single attempt gives zero, or its raw
    score with ``singleton="raw"`` (verl, SkyRL and RAGEN).

    Our choice: zero for a lone attempt, which otherwise counts as better than nothing. The
    deviation with n - 1 and epsilon 1e-6 are verl's; TRL uses epsilon 1e-4, OpenRLHF 1e-9,
    TRUST-SQL the biased deviation. Process rewards are left out (weight 0); a positive weight is
    the naive mixing of process and outcome.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome",)
    granularity: ClassVar[str] = "attempt"
    source: ClassVar[str] = "Shao et al. 2024, arXiv:2402.03300"

    scale: Scale = "unbiased"
    epsilon: float = 1e-6
    singleton: Singleton = "zero"
    process_weight: float = 0.0

    def __post_init__(self) -> None:
        check_choice(self, "scale", Scale)
        check_choice(self, "singleton", Singleton)
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equation."""
        scores_G = episode_scores(group, self.process_weight)
        return (Track(constant(self.advantages(scores_G), group)),)

    def advantages(self, scores_G: FloatArray) -> FloatArray:
        """Return one advantage per attempt from one score per attempt."""
        if scores_G.size == 1 and self.singleton == "raw":
            return scores_G
        return standardize(scores_G, self.scale, self.epsilon)

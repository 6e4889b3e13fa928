"""Dr.GRPO: GRPO without the division by the deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.credit.base import Credit, GroupSignals, Track
from agents.credit.ragged import constant, episode_scores
from agents.credit.settings import check_choice
from agents.credit.statistics import Singleton, centre


@dataclass(frozen=True)
class DrGrpo:
    """Every step of an attempt gets the distance of the attempt's score from the group's mean.

        A_it = S_i - mean(S)

    Units: units of the score, so a group of mixed success weighs more than a nearly uniform one;
    with n attempts this is (n - 1) / n times RLOO. The paper's loss divides the sum over tokens
    by a constant length: reduction "seq_mean_token_sum_norm".

    Degenerate groups: equal scores, and so a single attempt, give exactly zero; a single one its
    raw score with ``singleton="raw"`` (verl).

    Our choice: zero for a lone attempt, as the equation has it. The loss is set apart from the
    credit, so the constant length is not part of it.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome",)
    granularity: ClassVar[str] = "attempt"
    source: ClassVar[str] = "Liu et al. 2025, arXiv:2503.20783"

    process_weight: float = 0.0
    singleton: Singleton = "zero"

    def __post_init__(self) -> None:
        check_choice(self, "singleton", Singleton)

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equation."""
        scores_G = episode_scores(group, self.process_weight)
        return (Track(constant(centre(scores_G, self.singleton), group)),)

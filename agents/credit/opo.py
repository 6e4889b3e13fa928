"""OPO: the baseline is the group's mean score, weighted by the length of the attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.credit.base import Credit, GroupSignals, Track
from agents.credit.ragged import attempt_sums, constant, episode_scores
from agents.credit.settings import check_choice
from agents.credit.statistics import Singleton, centre, is_constant


@dataclass(frozen=True)
class Opo:
    """Every step gets the attempt's score less the length-weighted mean score of the group.

        A_it = S_i - sum_j L_j S_j / sum_j L_j,     L_j = sum_t tokens_jt

    The weights approximate the baseline of least variance, for which an attempt counts by the
    squared norm of its gradient, about proportional to its number of sampled tokens.

    Units: units of the score.

    Degenerate groups: equal scores, and so a single attempt, give exactly zero; a single one its
    raw score with ``singleton="raw"`` (verl).

    Our choice: zero for a lone attempt, as the equation has it.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "tokens")
    granularity: ClassVar[str] = "attempt"
    source: ClassVar[str] = "Hao et al. 2025, arXiv:2505.23585"

    process_weight: float = 0.0
    singleton: Singleton = "zero"

    def __post_init__(self) -> None:
        check_choice(self, "singleton", Singleton)

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equation."""
        scores_G = episode_scores(group, self.process_weight)
        if is_constant(scores_G):
            return (Track(constant(centre(scores_G, self.singleton), group)),)
        lengths_G = attempt_sums(group.learned("tokens"), group)
        baseline = lengths_G @ scores_G / lengths_G.sum()
        return (Track(constant(scores_G - baseline, group)),)

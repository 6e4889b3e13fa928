"""RLOO: an attempt is compared with the mean of the other attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.credit.base import Credit, GroupSignals, Track
from agents.credit.ragged import constant, episode_scores
from agents.credit.settings import check_choice
from agents.credit.statistics import Singleton, centre


@dataclass(frozen=True)
class Rloo:
    """Every step of an attempt gets the attempt's score less the mean score of the others.

        A_it = S_i - mean_{j != i} S_j = (S_i - mean(S)) n / (n - 1)

    Units: units of the score. The baseline does not depend on the attempt, so the gradient is
    unbiased.

    Degenerate groups: equal scores give exactly zero. A single attempt gives zero, or its raw
    score with ``singleton="raw"`` (one of verl's two functions; the other one, SkyRL and TRL
    give zero).

    Our choice: zero for a lone attempt, where the code bases disagree.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome",)
    granularity: ClassVar[str] = "attempt"
    source: ClassVar[str] = "Ahmadian et al. 2024, arXiv:2402.14740"

    process_weight: float = 0.0
    singleton: Singleton = "zero"

    def __post_init__(self) -> None:
        check_choice(self, "singleton", Singleton)

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equation."""
        scores_G = episode_scores(group, self.process_weight)
        others = scores_G.size / max(scores_G.size - 1, 1)
        return (Track(constant(others * centre(scores_G, self.singleton), group)),)

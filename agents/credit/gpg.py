"""GPG: the distance from the group's mean, scaled up by the share of attempts without reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, GroupSignals, Track
from agents.credit.ragged import constant, episode_scores
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Singleton, centre


@dataclass(frozen=True)
class Gpg:
    """Every step gets the attempt's distance from the group's mean, times one factor per batch.

        A_it = (attempts / attempts with S != 0) (S_i - mean_group(S)) / norm

    Meant for the surrogate "reinforce" (no ratio, no clip). The factor, over the whole batch,
    makes up for tasks that nobody solves and that therefore add no gradient.

    Units: units of the score times the factor.

    Degenerate groups: equal scores, and so a single attempt, give exactly zero; a single one its
    raw score with ``singleton="raw"`` (verl). A batch without any score other than zero has
    factor = number of attempts, and is zero anyway.

    Our choice: zero for a lone attempt, as the equation has it.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome",)
    granularity: ClassVar[str] = "attempt"
    source: ClassVar[str] = "Chu et al. 2025, arXiv:2504.02546"

    norm: float = 1.0
    process_weight: float = 0.0
    singleton: Singleton = "zero"

    def __post_init__(self) -> None:
        check_choice(self, "singleton", Singleton)
        check_range(self, np.finfo(np.float64).tiny, np.inf, "norm")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return the credit of one group as if it were the whole batch."""
        return self.batch([group])[0]

    def batch(self, groups: Sequence[GroupSignals]) -> list[Credit]:
        """Return one track per group; see the class for the equation."""
        scores = [episode_scores(group, self.process_weight) for group in groups]
        scored = sum(np.count_nonzero(scores_G) for scores_G in scores)
        factor = sum(scores_G.size for scores_G in scores) / max(scored, 1) / self.norm
        return [
            (Track(constant(factor * centre(scores_G, self.singleton), group)),)
            for scores_G, group in zip(scores, groups, strict=True)
        ]

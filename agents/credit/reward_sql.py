"""Reward-SQL: the attempt's rank decides the direction, the step's score the size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, FloatArray, GroupSignals, Track
from agents.credit.ragged import attempt_sums, concatenate, split, spread
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Scale, standardize


@dataclass(frozen=True)
class RewardSql:
    """In a good attempt the good steps get more, in a bad attempt the bad steps lose more.

        b_i  = outcome_i + mean_t step_score_it
        a_i  = Z(b_i)
        A_it = a_i * step_score_it          if a_i > 0
             = a_i * (1 - step_score_it)    otherwise

    step_score_it in [0, 1] is a process reward model's probability that step t is right.

    Units: standard deviations of b, scaled down by a factor in [0, 1].

    Degenerate groups: equal b, and so a single attempt, give exactly zero.

    Our choice: two differences from the released code, both on purpose. It averages the distinct
    values of the row, so two steps with the same score count once; here every step counts. And its
    factor for a bad attempt is 1 - (score + outcome), which turns negative for a right answer below
    the group's mean and so pushes its steps up while meaning to push them down; here the outcome is
    left out of the factor on both sides.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "step_score")
    granularity: ClassVar[str] = "step"
    source: ClassVar[str] = "Reward-SQL, arXiv:2505.04671"

    scale: Scale = "unbiased"
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_choice(self, "scale", Scale)
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equations."""
        score_GS = group.learned("step_score")
        mean_G = attempt_sums(score_GS, group) / group.steps_G
        rank_G = standardize(group.outcome_G + mean_G, self.scale, self.epsilon)
        score_N, rank_N = concatenate(score_GS), spread(rank_G, group)
        share_N = np.where(rank_N > 0, score_N, 1.0 - score_N)
        return (Track(split(rank_N * share_N, group)),)


ATTEMPT_SCORES: Mapping[str, Callable[[FloatArray], float]] = {
    "product": lambda score_S: float(score_S.prod()),
    "min": lambda score_S: float(score_S.min()),
    "last_step": lambda score_S: float(score_S[-1]),
    "average": lambda score_S: float(score_S.mean()),
}
"""One score of an attempt from the scores of its steps, to choose the best of n attempts."""

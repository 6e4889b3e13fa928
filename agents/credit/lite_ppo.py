"""Lite PPO: the mean is the group's, the deviation is the batch's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, FloatArray, GroupSignals, Track
from agents.credit.ragged import constant, episode_scores
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import IntArray, Scale, centre_within, normalize


@dataclass(frozen=True)
class LitePpo:
    """Every step gets the attempt's distance from the group's mean in deviations of the batch.

        A_it = (S_i - mean_group(S)) / (std_batch(S - mean_group(S)) + epsilon)

    A group with little spread is not blown up to the size of one with much, as it is in GRPO.

    Units: standard deviations over the batch.

    Degenerate groups: equal scores, and so a single attempt, give exactly zero.

    Our choice: the deviation is taken around the group means (as AReaL does); TRL's
    ``scale_rewards="batch"`` takes it around the batch's mean, which also counts how tasks differ:
    `around_batch_mean`.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome",)
    granularity: ClassVar[str] = "attempt"
    source: ClassVar[str] = "Liu et al. 2025, arXiv:2508.08221"

    process_weight: float = 0.0
    around_batch_mean: bool = False
    scale: Scale = "unbiased"
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_choice(self, "scale", Scale)
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return the credit of one group as if it were the whole batch."""
        return self.batch([group])[0]

    def batch(self, groups: Sequence[GroupSignals]) -> list[Credit]:
        """Return one track per group; see the class for the equation."""
        scores = [episode_scores(group, self.process_weight) for group in groups]
        sizes = [scores_G.size for scores_G in scores]
        pool_A = np.repeat(np.arange(len(groups)), sizes)
        credit_A = self.advantages(np.concatenate(scores), pool_A)
        rows = np.split(credit_A, np.cumsum(sizes)[:-1])
        return [(Track(constant(a, g)),) for a, g in zip(rows, groups, strict=True)]

    def advantages(self, scores_A: FloatArray, pool_A: IntArray) -> FloatArray:
        """Return one advantage per attempt A from one score each; `pool_A` numbers the groups."""
        if not self.around_batch_mean:
            return normalize(
                scores_A, pool_A, scale_over="batch", scale=self.scale, epsilon=self.epsilon
            )
        centred_A = centre_within(scores_A, pool_A)
        if self.scale == "none" or not centred_A.any():
            return centred_A
        deviation = scores_A.std(ddof=int(self.scale == "unbiased"))
        return np.asarray(centred_A / (deviation + self.epsilon))

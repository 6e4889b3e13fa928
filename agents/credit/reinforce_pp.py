"""REINFORCE++: returns standardised over the batch, with or without a group baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, FloatArray, GroupSignals, Track
from agents.credit.ragged import episode_scores, returns, split, spread, step_rewards
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Scale, Singleton, centre, standardize


def whiten_batch(
    flat: Sequence[FloatArray], groups: Sequence[GroupSignals], scale: Scale, epsilon: float
) -> list[Credit]:
    """Standardise the steps of all groups together; one track per group."""
    credit = standardize(np.concatenate(list(flat)), scale, epsilon)
    parts = np.split(credit, np.cumsum([part.size for part in flat])[:-1])
    return [(Track(split(part_N, g)),) for part_N, g in zip(parts, groups, strict=True)]


@dataclass(frozen=True)
class ReinforcePp:
    """Each step is credited with its discounted return, standardised over the batch.

        r_it = process_weight * process_it, plus outcome_i on the last step
        R_it = r_it + gamma R_i,t+1
        A_it = (R_it - mean R) / (std R + epsilon)     over all steps of all groups

    Units: standard deviations over the batch. There is no baseline per task, so a hard task's
    attempts are all below zero.

    Degenerate batches: equal returns everywhere give exactly zero.

    Our choice: steps weigh the same. The reference works on tokens, so long steps weigh more there
    (`agents.credit.tokens` has that form, and three ways to count observations).
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome",)
    granularity: ClassVar[str] = "step"
    source: ClassVar[str] = "Hu et al. 2025, arXiv:2501.03262"

    gamma: float = 1.0
    process_weight: float = 0.0
    scale: Scale = "unbiased"
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_range(self, 0.0, 1.0, "gamma")
        check_range(self, 0.0, np.inf, "epsilon")
        check_choice(self, "scale", Scale)

    def __call__(self, group: GroupSignals) -> Credit:
        """Return the credit of one group as if it were the whole batch."""
        return self.batch([group])[0]

    def batch(self, groups: Sequence[GroupSignals]) -> list[Credit]:
        """Return one track per group; see the class for the equations."""
        return whiten_batch([self._returns(g) for g in groups], groups, self.scale, self.epsilon)

    def _returns(self, group: GroupSignals) -> FloatArray:
        if self.gamma == 1.0 and self.process_weight == 0.0:
            return spread(group.outcome_G, group)
        return returns(step_rewards(group, self.process_weight), group, self.gamma)


@dataclass(frozen=True)
class ReinforcePpBaseline:
    """Every step gets the attempt's score less the group's mean, standardised over the batch.

        D_i  = S_i - mean_group(S)
        A_it = (D_i - mean D) / (std D + epsilon)      over all steps of all groups

    Units: standard deviations over the batch. Long attempts weigh more in mean and deviation,
    so the credit of an equal group is not exactly zero unless the whole batch is.

    Degenerate batches: equal scores in every group give exactly zero. A single attempt counts
    with a distance of zero, or of its raw score with ``singleton="raw"`` (verl).

    Our choice: zero for a lone attempt, and mean and deviation over steps, where verl has tokens.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome",)
    granularity: ClassVar[str] = "attempt"
    source: ClassVar[str] = "Hu et al. 2025, arXiv:2501.03262, with group baseline"

    process_weight: float = 0.0
    singleton: Singleton = "zero"
    scale: Scale = "unbiased"
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_choice(self, "singleton", Singleton)
        check_choice(self, "scale", Scale)
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return the credit of one group as if it were the whole batch."""
        return self.batch([group])[0]

    def batch(self, groups: Sequence[GroupSignals]) -> list[Credit]:
        """Return one track per group; see the class for the equations."""
        distances = []
        for group in groups:
            scores_G = episode_scores(group, self.process_weight)
            distances.append(spread(centre(scores_G, self.singleton), group))
        return whiten_batch(distances, groups, self.scale, self.epsilon)

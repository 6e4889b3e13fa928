"""MaxRL: the distance from the mean is divided by the mean, so rare success weighs more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, GroupSignals, Track
from agents.credit.ragged import constant, episode_scores
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Singleton, centre


@dataclass(frozen=True)
class MaxRl:
    """Every step of an attempt gets the attempt's distance from the mean, relative to the mean.

        A_it = (S_i - mean(S)) / (mean(S) + epsilon)

    With 0/1 scores this follows the gradient of log(success rate) instead of that of the success
    rate: solving a task at 1 of 8 for the first time counts as much as going from 4 to 8 of 8.

    Units: multiples of the mean. Meant for scores that are not negative.

    Degenerate groups: equal scores, and so a single attempt, give exactly zero (a single one its
    raw score with ``singleton="raw"``, as in SkyRL); so does a group whose mean is not positive
    (our choice: the quotient has no meaning there).
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome",)
    granularity: ClassVar[str] = "attempt"
    source: ClassVar[str] = "SkyRL, estimator maxrl"

    epsilon: float = 1e-6
    process_weight: float = 0.0
    singleton: Singleton = "zero"

    def __post_init__(self) -> None:
        check_choice(self, "singleton", Singleton)
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equation."""
        scores_G = episode_scores(group, self.process_weight)
        if scores_G.size == 1:
            return (Track(constant(centre(scores_G, self.singleton), group)),)
        mean = scores_G.mean()
        if mean <= 0:
            return (Track(constant(np.zeros_like(scores_G), group)),)
        centred_G = centre(scores_G, self.singleton)
        return (Track(constant(centred_G / (mean + self.epsilon), group)),)

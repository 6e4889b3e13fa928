"""MT-GRPO: a turn that is not the last has its own advantage beside that of the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, GroupSignals, Track
from agents.credit.ragged import (
    concatenate,
    episode_scores,
    last_steps,
    split,
    spread,
    step_index,
)
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Scale, standardize, standardize_within


@dataclass(frozen=True)
class MtGrpo:
    """Credit every step with the outcome, and steps before the last with their turn's reward too.

        A_it = Z(outcome_i) + coefficient * Z_t(process_it)    for t < T_i
        A_iT = Z(outcome_i)                                    for the last step
        A_i1 = Z(outcome_i + process_i1)                       for an attempt of one step

    Z_t compares the t-th steps of all attempts that have one.

    Units: standard deviations.

    Degenerate groups: equal outcomes, or equal process rewards at a step, have a term of exactly
    zero, and so has a single attempt (the authors' code gives NaN there).

    Our choice: the paper and its code have two turns with one turn reward; comparing every turn
    with the same turn of the others extends them to any number of turns.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "process")
    granularity: ClassVar[str] = "step"
    source: ClassVar[str] = "Zeng et al. 2025, arXiv:2505.11821"

    coefficient: float = 1.0
    scale: Scale = "unbiased"
    epsilon: float = 1e-4

    def __post_init__(self) -> None:
        check_choice(self, "scale", Scale)
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equations."""
        process_N = concatenate(group.process_GS)
        turn_N = standardize_within(process_N, step_index(group), self.scale, self.epsilon)
        outcome_G = standardize(group.outcome_G, self.scale, self.epsilon)
        whole_G = standardize(episode_scores(group, 1.0), self.scale, self.epsilon)
        turn_N[last_steps(group)] = 0.0
        attempt_G = np.where(np.array(group.steps_G) == 1, whole_G, outcome_G)
        credit_N = spread(attempt_G, group) + self.coefficient * turn_N
        return (Track(split(credit_N, group)),)

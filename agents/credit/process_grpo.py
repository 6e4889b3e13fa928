"""Process-supervised GRPO: standardised process rewards, summed from each step to the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, GroupSignals, Track
from agents.credit.ragged import concatenate, returns, split, spread
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Scale, standardize


@dataclass(frozen=True)
class ProcessGrpo:
    """Each step is credited with the standardised process rewards from itself to the end.

        z_it = (process_it - mean(process)) / (std(process) + epsilon)   over all steps
        A_it = outcome_weight * Z(outcome_i) + z_it + z_i,t+1 + ... + z_iT

    Units: standard deviations of the group's process rewards, summed over the steps left, so |A|
    grows with the steps that remain.

    Degenerate groups: equal process rewards everywhere have no process term, equal outcomes no
    outcome term. A single attempt is allowed; its steps are compared with each other.

    The paper has the sum of z alone (outcome_weight 0). Adding the outcome, on its own scale Z
    over the group's attempts, is our choice, so that a process reward that is silent on success
    still trains for it; with constant process rewards this is GRPO. The paper states neither
    epsilon nor the divisor of the deviation.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "process")
    granularity: ClassVar[str] = "step"
    source: ClassVar[str] = "Shao et al. 2024, arXiv:2402.03300, process supervision"

    outcome_weight: float = 1.0
    scale: Scale = "unbiased"
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_choice(self, "scale", Scale)
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equations."""
        process_N = standardize(concatenate(group.process_GS), self.scale, self.epsilon)
        outcome_G = standardize(group.outcome_G, self.scale, self.epsilon)
        outcome_N = spread(self.outcome_weight * outcome_G, group)
        return (Track(split(outcome_N + returns(process_N, group, 1.0), group)),)

"""Credit assignment: from the rewards of one group to an advantage for every step.

`ESTIMATORS` is the table of contents. An entry is a frozen dataclass of hyperparameters with
defaults; its call maps `GroupSignals` to `Credit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agents.credit.base import Credit, Estimator, GroupSignals, Track, signals
from agents.credit.finestep import FineStep
from agents.credit.grpo import Grpo

ESTIMATORS: Mapping[str, Callable[..., Estimator]] = {
    "finestep": FineStep,
    "grpo": Grpo,
}

__all__ = [
    "ESTIMATORS",
    "Credit",
    "Estimator",
    "FineStep",
    "GroupSignals",
    "Grpo",
    "Track",
    "signals",
]

"""Reward terms by name, and the schemes that weigh them. Weights stand here and nowhere else."""

from __future__ import annotations

from text2sql_gym.rewards.base import Reward, RewardScheme
from text2sql_gym.rewards.execution_match import execution_match
from text2sql_gym.rewards.hard_constraints import HardConstraints
from text2sql_gym.rewards.recall import (
    cell_recall,
    column_recall,
    progress_recall,
    schema_recall,
)

REWARDS: dict[str, Reward] = {
    "execution_match": execution_match,
    "hard_constraints": HardConstraints(),
    "cell_recall": cell_recall,
    "column_recall": column_recall,
    "schema_recall": schema_recall,
    "progress_recall": progress_recall,
}

SCHEMES: dict[str, RewardScheme] = {
    "finestep": RewardScheme(
        outcome={"execution_match": 1.0},
        process={"hard_constraints": 1.0, "cell_recall": 1.0},
    ),
    "outcome": RewardScheme(outcome={"execution_match": 1.0}, process={}),
}

__all__ = ["REWARDS", "SCHEMES", "Reward", "RewardScheme"]

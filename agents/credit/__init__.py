"""Credit assignment: from the rewards of one group to an advantage for every step.

`ESTIMATORS` is the table of contents. An entry is a frozen dataclass of hyperparameters with
defaults; its call maps `GroupSignals` to `Credit`. Some compare over the whole batch, so a
trainer calls `assign(estimator, groups)`. README.md is the table of all algorithms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agents.credit.base import (
    BatchEstimator,
    Credit,
    Estimator,
    GroupSignals,
    Track,
    assign,
    signals,
)
from agents.credit.dr_grpo import DrGrpo
from agents.credit.dual_track import DualTrack
from agents.credit.finestep import FineStep
from agents.credit.gae import Gae
from agents.credit.gdpo import Gdpo
from agents.credit.gigpo import Gigpo
from agents.credit.gpg import Gpg
from agents.credit.grpo import Grpo
from agents.credit.igpo import Igpo
from agents.credit.lite_ppo import LitePpo
from agents.credit.max_rl import MaxRl
from agents.credit.mt_grpo import MtGrpo
from agents.credit.opo import Opo
from agents.credit.pass_at_k import PassAtK
from agents.credit.pav import Pav
from agents.credit.process_grpo import ProcessGrpo
from agents.credit.reinforce_pp import ReinforcePp, ReinforcePpBaseline
from agents.credit.remax import ReMax
from agents.credit.reward_sql import RewardSql
from agents.credit.rloo import Rloo
from agents.credit.spa import Spa
from agents.credit.tree_grpo import TreeGrpo

ESTIMATORS: Mapping[str, Callable[..., Estimator]] = {
    "finestep": FineStep,
    "grpo": Grpo,
    "dr_grpo": DrGrpo,
    "rloo": Rloo,
    "lite_ppo": LitePpo,
    "gdpo": Gdpo,
    "max_rl": MaxRl,
    "pass_at_k": PassAtK,
    "opo": Opo,
    "gpg": Gpg,
    "remax": ReMax,
    "reinforce_pp": ReinforcePp,
    "reinforce_pp_baseline": ReinforcePpBaseline,
    "gae": Gae,
    "process_grpo": ProcessGrpo,
    "mt_grpo": MtGrpo,
    "gigpo": Gigpo,
    "igpo": Igpo,
    "tree_grpo": TreeGrpo,
    "dual_track": DualTrack,
    "reward_sql": RewardSql,
    "spa": Spa,
    "pav": Pav,
}

__all__ = [
    "ESTIMATORS",
    "BatchEstimator",
    "Credit",
    "DrGrpo",
    "DualTrack",
    "Estimator",
    "FineStep",
    "Gae",
    "Gdpo",
    "Gigpo",
    "Gpg",
    "GroupSignals",
    "Grpo",
    "Igpo",
    "LitePpo",
    "MaxRl",
    "MtGrpo",
    "Opo",
    "PassAtK",
    "Pav",
    "ProcessGrpo",
    "ReMax",
    "ReinforcePp",
    "ReinforcePpBaseline",
    "RewardSql",
    "Rloo",
    "Spa",
    "Track",
    "TreeGrpo",
    "assign",
    "signals",
]

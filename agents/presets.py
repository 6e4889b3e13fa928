"""Published methods by name: an estimator of credit, a loss, and what belongs to them.

A preset says what its source says, and is silent on the size of a batch or a learning rate. What
it names is a default: `experiments/train_finestep.py --preset dapo --estimator finestep` is DAPO's
loss, sampling and shaping with FineStep's credit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agents.credit import ESTIMATORS
from agents.losses import CORRECTIONS, Bounds, Objective
from agents.overlong import RULES
from text2sql_gym.registry import lookup


@dataclass(frozen=True)
class Preset:
    """A method.

    estimator  a name in `agents.credit.ESTIMATORS`
    objective  the loss; its constant `length`, if it needs one, is the token limit of an attempt
    rounds     times that sampling is repeated at most until the batch is full of groups that teach
               (`agents.refill`); 1: once
    overlong   a rule of `agents.overlong`
    kl         weight of the divergence from a reference (`agents.reference.Penalty`)

    Raises `UnknownName` or ValueError for a name that does not exist, or fewer rounds than 1.
    """

    estimator: str
    objective: Objective
    rounds: int = 1
    overlong: str = "keep"
    kl: float = 0.0

    def __post_init__(self) -> None:
        lookup(ESTIMATORS, self.estimator, "estimator")
        lookup(dict.fromkeys(RULES), self.overlong, "rule for overlong attempts")
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")


_SMALL = Bounds(clip_low=3e-4, clip_high=4e-4)
_HIGHER = Bounds(clip_low=0.2, clip_high=0.28)

PRESETS: Mapping[str, Preset] = {
    "finestep": Preset("finestep", Objective(bounds=_HIGHER)),
    "grpo": Preset("grpo", Objective(reduction="seq_mean_token_mean"), kl=0.04),
    "dr_grpo": Preset("dr_grpo", Objective(reduction="seq_mean_token_sum_norm")),
    "rloo": Preset("rloo", Objective(surrogate="reinforce", reduction="seq_mean_token_sum")),
    "reinforce_pp": Preset("reinforce_pp", Objective()),
    "lite_ppo": Preset("lite_ppo", Objective()),
    "ppo": Preset("gae", Objective()),
    "dapo": Preset("grpo", Objective(bounds=_HIGHER), rounds=10, overlong="penalty"),
    "gspo": Preset("grpo", Objective("sequence", "ppo", "seq_mean_token_mean", _SMALL)),
    "gspo_token": Preset("grpo", Objective("sequence_token", "ppo", "seq_mean_token_mean", _SMALL)),
    "cispo": Preset("grpo", Objective(surrogate="cispo", bounds=Bounds(1.0, 4.0))),
    "sapo": Preset("grpo", Objective(surrogate="sapo", reduction="seq_mean_token_mean")),
    "gmpo": Preset(
        "grpo", Objective("token", "gmpo", "seq_mean_token_mean", Bounds(0.4, 0.4))
    ),
    "vespo": Preset("grpo", Objective(surrogate="vespo")),
    "areal": Preset("grpo", Objective(bounds=Bounds(0.4, 0.4), correction=CORRECTIONS["areal"])),
}
"""Methods with a name.

finestep      step-level credit with clip-higher and a mean over tokens: this package's default
grpo          DeepSeekMath, arXiv:2402.03300: symmetric clip, every attempt weighs the same, KL 0.04
dr_grpo       arXiv:2503.20783: no deviation, and a constant in place of an attempt's length
rloo          arXiv:2402.14740: REINFORCE on whole attempts against the mean of the others
reinforce_pp  arXiv:2501.03262: returns standardised over the batch, PPO's clip
lite_ppo      arXiv:2508.08221: mean of the group, deviation of the batch, a mean over tokens
ppo           arXiv:1707.06347: a critic and generalised advantages, by turn or token (`--unit`)
dapo          arXiv:2503.14476: clip-higher, a mean over tokens, groups that teach nothing replaced
              (10 rounds at most, as in verl's recipe), a penalty on overlong attempts
gspo          arXiv:2507.18071: one ratio and so one bound per attempt, and a far smaller one
gspo_token    GSPO for advantages that differ within an attempt
cispo         MiniMax-M1, arXiv:2506.13585: weights in [0, 5], no token loses its gradient
sapo          a soft gate in place of the clip
gmpo          arXiv:2507.20673: the geometric mean of the ratios of an attempt, each clipped
vespo         a soft weight of the whole attempt's ratio, as in TRL
areal         decoupled PPO, arXiv:2505.24298: ratio to the policy before the update, tokens that
              the sampler found five times less likely left out; clip 0.4 as in its example
"""

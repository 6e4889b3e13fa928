"""Objectives under the names they are known by."""

from __future__ import annotations

from agents.losses.policy import Objective
from agents.losses.surrogates import Bounds

GRPO = Objective(reduction="seq_mean_token_mean")
"""DeepSeekMath: token ratios, symmetric clip, every attempt weighs the same."""

DR_GRPO = Objective(reduction="seq_mean_token_sum_norm")
"""Dr.GRPO: the sum over tokens is divided by a constant, `Totals.length`."""

DAPO = Objective(bounds=Bounds(clip_low=0.2, clip_high=0.28))
"""DAPO's loss: clip-higher and every token weighs the same. Its other two parts are
`agents.credit.selection.is_informative` and `overlong_penalty`."""

GSPO = Objective(
    ratio="sequence",
    reduction="seq_mean_token_mean",
    bounds=Bounds(clip_low=3e-4, clip_high=4e-4),
)
"""GSPO: one ratio per attempt, so one bound per attempt, and a far smaller one."""

GSPO_TOKEN = Objective(
    ratio="sequence_token",
    reduction="seq_mean_token_mean",
    bounds=Bounds(clip_low=3e-4, clip_high=4e-4),
)
"""GSPO with advantages per token or step."""

CISPO = Objective(surrogate="cispo", bounds=Bounds(clip_low=1.0, clip_high=4.0))
"""MiniMax-M1: weights in [0, 5], no token loses its gradient."""

SAPO = Objective(surrogate="sapo", reduction="seq_mean_token_mean")
"""Soft gate instead of a clip."""

PRESETS = {
    "grpo": GRPO,
    "dr_grpo": DR_GRPO,
    "dapo": DAPO,
    "gspo": GSPO,
    "gspo_token": GSPO_TOKEN,
    "cispo": CISPO,
    "sapo": SAPO,
}

"""Losses of policy optimisation: pure functions of tensors, assembled from four registries.

`policy_loss` = ratio level (`RATIOS`) x surrogate (`SURROGATES`) x reduction (`REDUCTIONS`);
`PRESETS` names the usual combinations. Corrections for off-policy tokens give weights or masks,
`kl_penalty` a divergence per token to be `reduce`d like the loss.
"""

from __future__ import annotations

from agents.losses.corrections import (
    importance_weights,
    interpolated_proximal,
    normalize_weights,
    off_policy_negatives_mask,
    rejection_mask,
    second_moment_mask,
    top_entropy_mask,
    truncated_weights,
)
from agents.losses.kl import KL, kl_penalty
from agents.losses.policy import Objective, policy_loss
from agents.losses.presets import PRESETS
from agents.losses.ratios import RATIOS
from agents.losses.reductions import REDUCTIONS, Totals, reduce
from agents.losses.regression import contribution_loss, value_loss
from agents.losses.surrogates import SURROGATES, Bounds

__all__ = [
    "KL",
    "PRESETS",
    "RATIOS",
    "REDUCTIONS",
    "SURROGATES",
    "Bounds",
    "Objective",
    "Totals",
    "contribution_loss",
    "importance_weights",
    "interpolated_proximal",
    "kl_penalty",
    "normalize_weights",
    "off_policy_negatives_mask",
    "policy_loss",
    "reduce",
    "rejection_mask",
    "second_moment_mask",
    "top_entropy_mask",
    "truncated_weights",
    "value_loss",
]

"""Losses of policy optimisation: pure functions of tensors, assembled from five registries.

`policy_loss` = ratio level (`RATIOS`) x surrogate (`SURROGATES`) x reduction (`REDUCTIONS`), with
weights by a correction (`CORRECTIONS`) where the policy that sampled is not the one that is
trained; `agents.presets` names the usual combinations. `kl_penalty` (`KL`) is a divergence per
token to be `reduce`d like the loss; `agents.reference.Penalty` is the term that a trainer adds.
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
from agents.losses.mismatch import CORRECTIONS, Correction, mismatch_metrics
from agents.losses.policy import Objective, policy_loss
from agents.losses.ratios import RATIOS
from agents.losses.reductions import REDUCTIONS, Totals, reduce
from agents.losses.regression import contribution_loss, value_loss
from agents.losses.surrogates import SURROGATES, Bounds

__all__ = [
    "CORRECTIONS",
    "KL",
    "RATIOS",
    "REDUCTIONS",
    "SURROGATES",
    "Bounds",
    "Correction",
    "Objective",
    "Totals",
    "contribution_loss",
    "importance_weights",
    "interpolated_proximal",
    "kl_penalty",
    "mismatch_metrics",
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

"""Losses of policy optimisation: pure functions of tensors, assembled from four registries."""

from __future__ import annotations

from agents.losses.corrections import truncated_weights
from agents.losses.kl import KL, kl_penalty
from agents.losses.policy import Objective, policy_loss
from agents.losses.ratios import RATIOS
from agents.losses.reductions import REDUCTIONS, Totals, reduce
from agents.losses.surrogates import SURROGATES, Bounds

__all__ = [
    "KL",
    "RATIOS",
    "REDUCTIONS",
    "SURROGATES",
    "Bounds",
    "Objective",
    "Totals",
    "kl_penalty",
    "policy_loss",
    "reduce",
    "truncated_weights",
]

"""Weights for tokens sampled by another engine or an older policy than the one trained.

The inference engine's log-probabilities (behaviour) differ from the trainer's (proximal) by
numerics, quantisation and staleness. w = exp(proximal - behaviour) corrects for it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def truncated_weights(
    proximal_BT: Tensor, behaviour_BT: Tensor, mask_BT: Tensor, cap: float = 2.0
) -> Tensor:
    """Return min(w, cap) per token, 0 where the mask is 0, without gradient (TIS).

    Source: Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL
    training"; cap 2.0 as in verl and SkyRL.
    """
    log_weight_BT = torch.where(mask_BT > 0, proximal_BT - behaviour_BT, 0.0).clamp(-20.0, 20.0)
    return (log_weight_BT.exp().clamp(max=cap) * mask_BT).detach()

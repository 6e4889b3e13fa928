"""Losses of the models that credit needs: a critic, and SPA's progress estimator."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.losses.reductions import Totals, reduce


def value_loss(
    values_BT: Tensor,
    old_values_BT: Tensor,
    targets_BT: Tensor,
    mask_BT: Tensor,
    *,
    clip: float = 0.5,
    totals: Totals,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return half the larger squared error of the value and of the value kept near the old one.

    The value is kept within +-`clip` of what it was before the update, as PPO keeps the ratio.
    Loss and ``value_clip_fraction`` are summands of the whole batch's token means.
    """
    mask_BT = mask_BT.to(values_BT.dtype)
    kept_BT = torch.clamp(values_BT, old_values_BT - clip, old_values_BT + clip)
    plain_BT = (values_BT - targets_BT).square()
    clipped_BT = (kept_BT - targets_BT).square()
    loss_BT = 0.5 * torch.maximum(plain_BT, clipped_BT)
    with torch.no_grad():
        fraction = ((clipped_BT > plain_BT) * mask_BT).sum() / totals.tokens
    return reduce(loss_BT, mask_BT, "token_mean", totals), {"value_clip_fraction": fraction}


def contribution_loss(contributions_BS: Tensor, mask_BS: Tensor, outcome_B: Tensor) -> Tensor:
    """Return the mean squared error between the sum of a row's contributions and its outcome.

    Nothing is asked of a single step, and no sign: only the sum is supervised. A row without a
    step predicts 0.

    Source: SPA-RL, arXiv:2505.20732, its progress estimator.
    """
    predicted_B = torch.where(mask_BS > 0, contributions_BS, 0.0).sum(dim=1)
    return (predicted_B - outcome_B).square().mean()

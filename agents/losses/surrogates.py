"""What is minimised per token, given a ratio and an advantage: PPO's clip and its relatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Bounds:
    """The constants of the surrogates.

    clip_low, clip_high   the ratio is clipped to [1 - clip_low, 1 + clip_high]
    dual_clip             c > 1: with a negative advantage the loss is at most c * |advantage|
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = None

    def __post_init__(self) -> None:
        if self.clip_low < 0 or self.clip_high < 0:
            raise ValueError(f"clip must not be negative, got {self.clip_low}, {self.clip_high}")
        if self.dual_clip is not None and not self.dual_clip > 1:
            raise ValueError(f"dual_clip must be greater than 1, got {self.dual_clip}")


@dataclass(frozen=True)
class TokenLoss:
    """A loss per token and where a bound was active (for the clip fraction)."""

    loss_BT: Tensor
    clipped_BT: Tensor


def ppo(ratio_BT: Tensor, advantages_BT: Tensor, log_probs_BT: Tensor, bounds: Bounds) -> TokenLoss:
    """The larger of -A r and -A clip(r), so an update gains nothing beyond the clip.

    Unequal bounds are DAPO's clip-higher. With `dual_clip` c and A < 0 the loss is at most
    -A c, which bounds what a single very likely bad token can do (Ye et al. 2020,
    arXiv:1912.09729).

    Source: Schulman et al. 2017, arXiv:1707.06347, equation 7.
    """
    clipped_BT = ratio_BT.clamp(1.0 - bounds.clip_low, 1.0 + bounds.clip_high)
    plain_BT, bounded_BT = -advantages_BT * ratio_BT, -advantages_BT * clipped_BT
    loss_BT = torch.maximum(plain_BT, bounded_BT)
    if bounds.dual_clip is not None:
        ceiling_BT = -advantages_BT * bounds.dual_clip
        loss_BT = torch.where(advantages_BT < 0, torch.minimum(loss_BT, ceiling_BT), loss_BT)
    return TokenLoss(loss_BT, bounded_BT > plain_BT)


SURROGATES: Mapping[str, Callable[[Tensor, Tensor, Tensor, Bounds], TokenLoss]] = {
    "ppo": ppo,
}

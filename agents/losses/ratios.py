"""The ratio between the policy now and the policy before the update, at four levels.

Each function returns a ratio per token (B, T), 1 where the mask is 0. `log_ratio_BT` is
log pi - log pi_old with its gradient, 0 where the mask is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def masked_log_ratio(
    log_probs_BT: Tensor, old_log_probs_BT: Tensor, mask_BT: Tensor, limit: float | None
) -> Tensor:
    """Return log pi - log pi_old, 0 where the mask is 0, clamped to +-`limit`.

    The clamp keeps exp() finite; a token beyond it has no gradient. Masked entries may hold
    anything, also NaN and infinity.
    """
    log_ratio_BT = torch.where(mask_BT > 0, log_probs_BT - old_log_probs_BT, 0.0)
    return log_ratio_BT if limit is None else log_ratio_BT.clamp(-limit, limit)


def token_ratio(log_ratio_BT: Tensor, mask_BT: Tensor, turn_BT: Tensor | None) -> Tensor:
    """One ratio per token (PPO, GRPO)."""
    return log_ratio_BT.exp()


RATIOS: Mapping[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "token": token_ratio,
}

"""The ratio between the policy now and the policy before the update, at four levels.

Each level returns a ratio per token (B, T). `log_ratio_BT` is log pi - log pi_old with its
gradient, 0 where the mask is 0; what a ratio is on masked tokens is ignored later on.
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


def sequence_ratio(log_ratio_BT: Tensor, mask_BT: Tensor, turn_BT: Tensor | None) -> Tensor:
    """One ratio per row, the geometric mean over its tokens (GSPO, arXiv:2507.18071).

    The gradient goes through the mean, so every token of a row gets the same one.
    """
    return _mean(log_ratio_BT, mask_BT).exp().expand_as(log_ratio_BT)


def sequence_token_ratio(
    log_ratio_BT: Tensor, mask_BT: Tensor, turn_BT: Tensor | None
) -> Tensor:
    """The value of the row's ratio with the gradient of the token (GSPO-token).

    Lets tokens have their own advantages. With equal advantages in a row, and the reduction
    "seq_mean_token_mean", its gradient is that of "sequence".
    """
    mean_B1 = _mean(log_ratio_BT, mask_BT).detach()
    return (log_ratio_BT - log_ratio_BT.detach() + mean_B1).exp()


def turn_ratio(log_ratio_BT: Tensor, mask_BT: Tensor, turn_BT: Tensor | None) -> Tensor:
    """One ratio per turn, the geometric mean over its tokens (Tree-GRPO's turn loss).

    `turn_BT` numbers the turns of each row from 0; any number of turns. What it holds where the
    mask is 0 does not matter.
    """
    if turn_BT is None:
        raise ValueError("the ratio level 'turn' needs turn_BT, the number of each token's turn")
    index_BT = torch.where(mask_BT > 0, turn_BT, 0).long()
    empty_BK = log_ratio_BT.new_zeros(len(index_BT), int(index_BT.max()) + 1)
    sum_BK = empty_BK.scatter_add(1, index_BT, log_ratio_BT * mask_BT)
    count_BK = empty_BK.scatter_add(1, index_BT, mask_BT).clamp(min=1.0)
    return (sum_BK / count_BK).gather(1, index_BT).exp()


def _mean(log_ratio_BT: Tensor, mask_BT: Tensor) -> Tensor:
    tokens_B1 = mask_BT.sum(dim=1, keepdim=True).clamp(min=1.0)
    return (log_ratio_BT * mask_BT).sum(dim=1, keepdim=True) / tokens_B1


RATIOS: Mapping[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "token": token_ratio,
    "turn": turn_ratio,
    "sequence": sequence_ratio,
    "sequence_token": sequence_token_ratio,
}

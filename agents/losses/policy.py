"""The policy loss: ratio level x surrogate x reduction, as one pure function of tensors.

Shape suffixes: B rows (attempts), T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agents.losses.mismatch import Correction
from agents.losses.ratios import RATIOS, masked_log_ratio
from agents.losses.reductions import REDUCTIONS, Totals, reduce
from agents.losses.surrogates import SURROGATES, Bounds, Tokens
from text2sql_gym.registry import lookup


@dataclass(frozen=True)
class Objective:
    """Which loss. Frozen; names are looked up when it is built.

    ratio      one of `RATIOS`: over what the probability ratio is taken
    surrogate  one of `SURROGATES`: what is done with it
    reduction  one of `REDUCTIONS`: how tokens become one number
    bounds     clip range and other constants of the surrogate
    log_ratio_limit   log ratios are clamped to +- this many nats before exp(); None: not at all
    correction   of the mismatch between the policy that sampled and the one before the update, as
                 in `agents.losses.CORRECTIONS`; None: the ratio is taken to the one that sampled
    length       the constant K of "seq_mean_token_sum_norm"; None: the longest row of the batch

    An objective compares the policy with those that it was: where it was sampled, and where the
    update began. Its distance from another model, a reference, is no part of it: that is
    `agents.reference.Penalty`, which a trainer adds to the loss with the same reduction. It is
    never taken off the reward.

    Raises `UnknownName` naming the nearest known one.
    """

    ratio: str = "token"
    surrogate: str = "ppo"
    reduction: str = "token_mean"
    bounds: Bounds = Bounds()
    log_ratio_limit: float | None = 20.0
    correction: Correction | None = None
    length: float | None = None

    def __post_init__(self) -> None:
        lookup(RATIOS, self.ratio, "ratio level")
        lookup(SURROGATES, self.surrogate, "surrogate")
        lookup(REDUCTIONS, self.reduction, "reduction")


def policy_loss(
    log_probs_BT: Tensor,
    old_log_probs_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    *,
    objective: Objective,
    totals: Totals,
    weights_BT: Tensor | None = None,
    turn_BT: Tensor | None = None,
    prompt_tokens_B: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss to minimise and metrics, both summands of the whole batch's.

    `mask_BT` is 1 on tokens the policy sampled, else 0. `weights_BT` are constant factors per
    token, such as truncated importance weights. `turn_BT` numbers the turns of each row from 0
    and is needed by the ratio level "turn"; `prompt_tokens_B` by the reduction "prompt_mean".

    With old log-probabilities of the policy before the update and `weights_BT` of
    `importance_weights` this is the decoupled objective of AReaL (arXiv:2505.24298).

    Metrics (detached scalars, add them over micro-batches): ``clip_fraction``, the share of
    tokens where the bound was active; ``kl_old``, the k1 estimate of KL(old, new).
    """
    mask_BT = mask_BT.to(log_probs_BT.dtype)
    log_ratio_BT = masked_log_ratio(
        log_probs_BT, old_log_probs_BT, mask_BT, objective.log_ratio_limit
    )
    tokens = Tokens(
        ratio_BT=RATIOS[objective.ratio](log_ratio_BT, mask_BT, turn_BT),
        advantages_BT=torch.where(mask_BT > 0, advantages_BT, 0.0),
        log_probs_BT=torch.where(mask_BT > 0, log_probs_BT, 0.0),
        old_log_probs_BT=torch.where(mask_BT > 0, old_log_probs_BT, 0.0),
        mask_BT=mask_BT,
    )
    token = SURROGATES[objective.surrogate](tokens, objective.bounds)
    loss_BT = token.loss_BT if weights_BT is None else token.loss_BT * weights_BT.detach()
    loss = reduce(loss_BT, mask_BT, objective.reduction, totals, prompt_tokens_B)
    with torch.no_grad():
        clipped = (token.clipped_BT * mask_BT).sum() / totals.tokens
        kl_old = -(log_ratio_BT * mask_BT).sum() / totals.tokens
    return loss, {"clip_fraction": clipped, "kl_old": kl_old}

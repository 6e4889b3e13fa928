"""Correct for tokens sampled by another engine or an older policy than the one trained.

The log-probabilities of the engine that sampled (behaviour) differ from those of the policy
before the update (proximal) by numerics, quantisation and staleness. w = exp(proximal -
behaviour) is the importance weight. Everything here is constant: nothing carries a gradient.

Shape suffixes: B rows (attempts), T tokens.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Level = Literal["token", "sequence", "geometric"]
"""One weight per token; the product over the row; the geometric mean over the row."""

Measure = Literal["k1", "k2", "k3"]
"""Of x = log w: x itself; x^2 / 2; exp(x) - 1 - x."""

Over = Literal["token", "sum", "mean", "max"]
"""Judge each token, or the whole row by the sum, mean or maximum over its tokens."""

_LIMIT = 20.0  # nats; exp(20) is 5e8


def _log_weights(proximal_BT: Tensor, behaviour_BT: Tensor, mask_BT: Tensor) -> Tensor:
    log_BT = torch.where(mask_BT > 0, proximal_BT - behaviour_BT, 0.0).detach()
    return torch.nan_to_num(log_BT, nan=0.0, posinf=_LIMIT, neginf=-_LIMIT)


def importance_weights(
    proximal_BT: Tensor,
    behaviour_BT: Tensor,
    mask_BT: Tensor,
    *,
    level: Level = "token",
    low: float | None = None,
    high: float | None = 2.0,
    outside: Literal["truncate", "zero"] = "truncate",
) -> Tensor:
    """Return w per token, bounded to [low, high]; 0 where the mask is 0.

    "truncate" cuts to the bound (TIS), "zero" drops the token or row (masked importance
    sampling, IcePop). A bound of None is no bound. A missing behaviour log-probability (NaN)
    counts as w = 1. The product over thousands of tokens leaves the bounds almost surely: prefer
    tokens, or the geometric mean.

    Source: truncated importance sampling as in verl, SkyRL, TRL, OpenRLHF and slime; cap 2.0 as
    in verl and SkyRL.
    """
    log_BT = _log_weights(proximal_BT, behaviour_BT, mask_BT)
    if level != "token":
        log_B1 = (log_BT * mask_BT).sum(dim=1, keepdim=True)
        count_B1 = mask_BT.sum(dim=1, keepdim=True).clamp(min=1.0)
        log_BT = (log_B1 / count_B1 if level == "geometric" else log_B1).expand_as(log_BT)
    raw_BT = log_BT.clamp(-_LIMIT, _LIMIT).exp()
    weights_BT = raw_BT.clamp(low, high) if (low, high) != (None, None) else raw_BT
    if outside == "zero":
        weights_BT = torch.where(weights_BT == raw_BT, raw_BT, 0.0)
    return weights_BT * mask_BT


def truncated_weights(
    proximal_BT: Tensor, behaviour_BT: Tensor, mask_BT: Tensor, cap: float = 2.0
) -> Tensor:
    """Return min(w, cap) per token: `importance_weights` in its usual form (TIS)."""
    return importance_weights(proximal_BT, behaviour_BT, mask_BT, high=cap)


def normalize_weights(weights_BT: Tensor, mask_BT: Tensor, level: Level = "token") -> Tensor:
    """Divide by the mean weight of the batch, over tokens, or over rows for the row levels.

    It needs the whole batch at once: call it before cutting into micro-batches.
    """
    if level == "token":
        return weights_BT / (weights_BT.sum() / mask_BT.sum().clamp(min=1.0)).clamp(min=1e-8)
    count_B = mask_BT.sum(dim=1)
    per_row_B = weights_BT.sum(dim=1) / count_B.clamp(min=1.0)
    mean = per_row_B.sum() / (count_B > 0).sum().clamp(min=1)
    return weights_BT / mean.clamp(min=1e-8)


def rejection_mask(
    proximal_BT: Tensor,
    behaviour_BT: Tensor,
    mask_BT: Tensor,
    *,
    measure: Measure = "k1",
    over: Over = "token",
    low: float | None = None,
    high: float | None = None,
) -> Tensor:
    """Return the mask without the tokens or rows whose measure is outside [low, high].

    Bounds on the ratio itself are logarithms here: measure "k1" with low = log 0.5 keeps
    w >= 0.5. Swap the first two arguments to judge 1 / w. Passed as the mask it also shrinks the
    denominators that are counted from it (verl); multiplied into the weights it leaves them
    (AReaL).
    """
    log_BT = _log_weights(proximal_BT, behaviour_BT, mask_BT)
    measured_BT = _measure(log_BT.clamp(-_LIMIT, _LIMIT), measure)
    judged_BT = measured_BT if over == "token" else _per_row(measured_BT, mask_BT, over)
    keep_BT = torch.ones_like(mask_BT, dtype=torch.bool)
    if low is not None:
        keep_BT &= judged_BT >= low
    if high is not None:
        keep_BT &= judged_BT <= high
    return mask_BT * keep_BT


def _measure(log_BT: Tensor, measure: Measure) -> Tensor:
    if measure == "k1":
        return log_BT
    if measure == "k2":
        return 0.5 * log_BT.square()
    return log_BT.exp() - 1.0 - log_BT


def _per_row(measured_BT: Tensor, mask_BT: Tensor, over: Over) -> Tensor:
    if over == "max":
        lowest_BT = measured_BT.masked_fill(mask_BT <= 0, -torch.inf)
        return lowest_BT.max(dim=1, keepdim=True).values
    sum_B1 = (measured_BT * mask_BT).sum(dim=1, keepdim=True)
    if over == "sum":
        return sum_B1
    return sum_B1 / mask_BT.sum(dim=1, keepdim=True).clamp(min=1.0)


def off_policy_negatives_mask(
    log_probs_BT: Tensor,
    behaviour_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    threshold: float,
) -> Tensor:
    """Return the mask without tokens of negative advantage in rows that drifted too far.

    A row drifted when its mean of behaviour - log pi is above the threshold: the policy has
    already moved away from it, and pushing on is what destabilises.

    Source: off-policy sequence masking of DeepSeek-V3.2, as in TRL.
    """
    drift_BT = _log_weights(behaviour_BT, log_probs_BT, mask_BT)
    drifted_B1 = _per_row(drift_BT, mask_BT, "mean") > threshold
    return mask_BT * ~((advantages_BT < 0) & drifted_B1)


def second_moment_mask(
    proximal_BT: Tensor, behaviour_BT: Tensor, mask_BT: Tensor, threshold: float
) -> Tensor:
    """Return the mask without the largest x^2 until the mean of the rest is below the threshold.

    x = log w. At least one token stays. It needs the whole batch at once.

    Source: M2PO, as in AReaL.
    """
    square_N = _log_weights(proximal_BT, behaviour_BT, mask_BT).square()[mask_BT > 0]
    order_N = square_N.argsort(descending=True, stable=True).flip(0)  # ties: the later one stays
    count_N = torch.arange(1, square_N.numel() + 1, device=square_N.device)
    kept = int((square_N[order_N].cumsum(0) / count_N < threshold).sum())
    keep_N = torch.zeros_like(square_N, dtype=mask_BT.dtype)
    keep_N[order_N[: max(kept, 1)]] = 1.0
    kept_BT = torch.zeros_like(mask_BT)
    kept_BT[mask_BT > 0] = keep_N
    return kept_BT


def interpolated_proximal(
    log_probs_BT: Tensor,
    behaviour_BT: Tensor,
    version_BT: Tensor,
    version: int,
    *,
    space: Literal["log", "probability"] = "log",
) -> Tensor:
    """Estimate the proximal log-probabilities without a forward pass, from how stale tokens are.

    The policy before the update has version `version` - 1. A token sampled at version v is
    (version - 1 - v) / (version - v) of the way from its behaviour log-probability to the
    present one, on a line of log-probabilities or of probabilities. A token of version -1 (not
    sampled), or as fresh as the policy, keeps its behaviour log-probability. Without gradient.

    Source: AReaL, ``prox_logp_method``.
    """
    age_BT = (version - version_BT).clamp(min=1).to(log_probs_BT.dtype)
    share_BT = torch.where(version_BT >= 0, (age_BT - 1.0) / age_BT, 0.0)
    if space == "probability":
        mixed_BT = (1.0 - share_BT) * behaviour_BT.exp() + share_BT * log_probs_BT.exp()
        return mixed_BT.log().detach()
    return (behaviour_BT + share_BT * (log_probs_BT - behaviour_BT)).detach()


def top_entropy_mask(entropy_BT: Tensor, mask_BT: Tensor, share: float) -> Tensor:
    """Return the mask of the `share` of tokens with the highest entropy; whole batch at once.

    Source: Wang et al. 2025, arXiv:2506.01939, with share 0.2; as in TRL.
    """
    threshold = torch.quantile(entropy_BT[mask_BT > 0].float(), 1.0 - share)
    return mask_BT * (entropy_BT >= threshold)

"""What is minimised per token, given a ratio and an advantage: PPO's clip and its relatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Bounds:
    """The constants of the surrogates.

    clip_low, clip_high   the ratio, or what stands for it, is kept in [1 - low, 1 + high]
    dual_clip             c > 1: with a negative advantage the loss is at most c * |advantage|
    tau_positive, tau_negative   temperatures of SAPO's gate by the sign of the advantage
    beta                  weight of DRO's penalty
    vespo_positive, vespo_negative   (k, lambda) of VESPO's weight by the sign of the advantage

    Raises ValueError when a constant is out of range.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = None
    tau_positive: float = 1.0
    tau_negative: float = 1.05
    beta: float = 0.1
    vespo_positive: tuple[float, float] = (2.0, 3.0)
    vespo_negative: tuple[float, float] = (3.0, 2.0)

    def __post_init__(self) -> None:
        if self.clip_low < 0 or self.clip_high < 0:
            raise ValueError(f"clip must not be negative, got {self.clip_low}, {self.clip_high}")
        if self.dual_clip is not None and not self.dual_clip > 1:
            raise ValueError(f"dual_clip must be greater than 1, got {self.dual_clip}")
        if not (self.tau_positive > 0 and self.tau_negative > 0):
            raise ValueError("SAPO's temperatures must be positive")


@dataclass(frozen=True)
class Tokens:
    """What a surrogate may look at, all of shape (B, T) and finite also where the mask is 0."""

    ratio_BT: Tensor
    advantages_BT: Tensor
    log_probs_BT: Tensor
    old_log_probs_BT: Tensor
    mask_BT: Tensor


@dataclass(frozen=True)
class TokenLoss:
    """A loss per token and where a bound was active (for the clip fraction)."""

    loss_BT: Tensor
    clipped_BT: Tensor


def ppo(tokens: Tokens, bounds: Bounds) -> TokenLoss:
    """The larger of -A r and -A clip(r), so an update gains nothing beyond the clip.

    Unequal bounds are DAPO's clip-higher. With `dual_clip` c and A < 0 the loss is at most
    -A c, which bounds what a single very likely bad token can do (Ye et al. 2020,
    arXiv:1912.09729).

    Source: Schulman et al. 2017, arXiv:1707.06347, equation 7.
    """
    advantages_BT = tokens.advantages_BT
    clipped_BT = tokens.ratio_BT.clamp(1.0 - bounds.clip_low, 1.0 + bounds.clip_high)
    plain_BT, bounded_BT = -advantages_BT * tokens.ratio_BT, -advantages_BT * clipped_BT
    loss_BT = torch.maximum(plain_BT, bounded_BT)
    if bounds.dual_clip is not None:
        ceiling_BT = -advantages_BT * bounds.dual_clip
        loss_BT = torch.where(advantages_BT < 0, torch.minimum(loss_BT, ceiling_BT), loss_BT)
    return TokenLoss(loss_BT, bounded_BT > plain_BT)


def cispo(tokens: Tokens, bounds: Bounds) -> TokenLoss:
    """-clip(r) A log pi with the clipped ratio as a constant: clipped tokens keep a gradient.

    The weight is kept in [1 - clip_low, 1 + clip_high]. The paper has no lower bound: clip_low 1.
    TRL's single bound is absolute: its epsilon_high is 1 + clip_high.

    Source: MiniMax-M1, arXiv:2506.13585.
    """
    ratio_BT = tokens.ratio_BT.detach()
    weight_BT = ratio_BT.clamp(1.0 - bounds.clip_low, 1.0 + bounds.clip_high)
    loss_BT = -weight_BT * tokens.advantages_BT * tokens.log_probs_BT
    return TokenLoss(loss_BT, weight_BT != ratio_BT)


def sapo(tokens: Tokens, bounds: Bounds) -> TokenLoss:
    """-A times a soft gate (4 / tau) sigmoid(tau (r - 1)): no ratio is cut off, far ones fade.

    tau is larger for negative advantages, so these fade faster. There is no hard bound.

    Source: SAPO as in verl, TRL and AReaL.
    """
    positive_BT = tokens.advantages_BT > 0
    tau_BT = torch.where(positive_BT, bounds.tau_positive, bounds.tau_negative)
    gate_BT = torch.sigmoid(tau_BT * (tokens.ratio_BT - 1.0)) * 4.0 / tau_BT
    return TokenLoss(-tokens.advantages_BT * gate_BT, torch.zeros_like(positive_BT))


def reinforce(tokens: Tokens, bounds: Bounds) -> TokenLoss:
    """-A log pi: no ratio and no bound, for one update per batch (GPG, ReMax)."""
    loss_BT = -tokens.advantages_BT * tokens.log_probs_BT
    return TokenLoss(loss_BT, torch.zeros_like(loss_BT, dtype=torch.bool))


def gmpo(tokens: Tokens, bounds: Bounds) -> TokenLoss:
    """-A times the geometric mean of the row's ratios, each clipped against its gain.

    clip_low and clip_high bound the log ratio of a token: [-low, high]. The ratio level is not
    used. The paper reduces by "seq_mean_token_mean".

    Source: GMPO, arXiv:2507.20673.
    """
    sign_BT = tokens.advantages_BT.sign()
    log_BT = tokens.log_probs_BT - tokens.old_log_probs_BT
    clipped_BT = log_BT.clamp(-bounds.clip_low, bounds.clip_high)
    kept_BT = sign_BT * torch.minimum(sign_BT * log_BT, sign_BT * clipped_BT) * tokens.mask_BT
    length_B1 = tokens.mask_BT.sum(dim=1, keepdim=True).clamp(min=1.0)
    ratio_B1 = (kept_BT.sum(dim=1, keepdim=True) / length_B1).exp()
    return TokenLoss(-tokens.advantages_BT * ratio_B1, sign_BT * log_BT > sign_BT * clipped_BT)


def dppo_tv(tokens: Tokens, bounds: Bounds) -> TokenLoss:
    """-A r log pi without the tokens whose probability moved too far in the direction of A.

    Bounds the total variation |pi - pi_old| of the sampled token: clip_high when A > 0, clip_low
    when A < 0. Unlike a bound on the ratio this lets rare tokens grow and holds likely ones. The
    ratio is a constant, at most `dual_clip`.

    Source: DPPO as in verl and prime-rl.
    """
    moved_BT = (tokens.log_probs_BT.exp() - tokens.old_log_probs_BT.exp()).detach()
    return _trust_region(tokens, bounds, moved_BT, moved_BT.abs())


def dppo_kl(tokens: Tokens, bounds: Bounds) -> TokenLoss:
    """As `dppo_tv`, with the divergence between "this token" and "any other", old to new.

    KL(pi_old, pi) = pi_old log(pi_old / pi) + (1 - pi_old) log((1 - pi_old) / (1 - pi))
    """
    new_BT = tokens.log_probs_BT.detach().exp()
    old_BT = tokens.old_log_probs_BT.detach().exp()
    same_BT = old_BT * (tokens.old_log_probs_BT - tokens.log_probs_BT).detach()
    other_BT = torch.log1p(-old_BT.clamp(max=1 - 1e-8)) - torch.log1p(-new_BT.clamp(max=1 - 1e-8))
    return _trust_region(tokens, bounds, new_BT - old_BT, same_BT + (1.0 - old_BT) * other_BT)


def _trust_region(
    tokens: Tokens, bounds: Bounds, moved_BT: Tensor, distance_BT: Tensor
) -> TokenLoss:
    limit_BT = torch.where(tokens.advantages_BT > 0, bounds.clip_high, bounds.clip_low)
    left_BT = (moved_BT * tokens.advantages_BT > 0) & (distance_BT > limit_BT)
    ratio_BT = tokens.ratio_BT.detach()
    if bounds.dual_clip is not None:
        ratio_BT = ratio_BT.clamp(max=bounds.dual_clip)
    loss_BT = -tokens.advantages_BT * ratio_BT * tokens.log_probs_BT
    return TokenLoss(torch.where(left_BT, 0.0, loss_BT), left_BT)


def vespo(tokens: Tokens, bounds: Bounds) -> TokenLoss:
    """-phi A log pi with a soft weight of the whole row's ratio: phi = w^k exp(lambda (1 - w)).

    w is the product of the row's ratios, a constant; phi is 1 at w = 1 and falls off to both
    sides, so rows that drifted far count less and none is cut. The ratio level is not used.

    Source: VESPO as in TRL.
    """
    log_BT = (tokens.log_probs_BT - tokens.old_log_probs_BT).detach() * tokens.mask_BT
    log_B1 = log_BT.sum(dim=1, keepdim=True).clamp(-20.0, 20.0)
    positive_BT = tokens.advantages_BT > 0
    power_BT, slope_BT = (
        torch.where(positive_BT, high, low)
        for high, low in zip(bounds.vespo_positive, bounds.vespo_negative, strict=True)
    )
    weight_BT = (power_BT * log_B1 + slope_BT * (1.0 - log_B1.exp())).exp()
    loss_BT = -weight_BT * tokens.advantages_BT * tokens.log_probs_BT
    return TokenLoss(loss_BT, torch.zeros_like(positive_BT))


def dro(tokens: Tokens, bounds: Bounds) -> TokenLoss:
    """-(A log pi - beta / 2 (log pi - log pi_old)^2): a quadratic pull instead of a bound.

    Source: DRO as in verl.
    """
    drift_BT = tokens.log_probs_BT - tokens.old_log_probs_BT
    loss_BT = 0.5 * bounds.beta * drift_BT.square() - tokens.advantages_BT * tokens.log_probs_BT
    return TokenLoss(loss_BT, torch.zeros_like(loss_BT, dtype=torch.bool))


SURROGATES: Mapping[str, Callable[[Tokens, Bounds], TokenLoss]] = {
    "ppo": ppo,
    "cispo": cispo,
    "sapo": sapo,
    "reinforce": reinforce,
    "gmpo": gmpo,
    "dppo_tv": dppo_tv,
    "dppo_kl": dppo_kl,
    "vespo": vespo,
    "dro": dro,
}

"""Which correction of `agents.losses.corrections` an objective makes, and those with a name.

Attempts are sampled by one policy (behaviour) and trained by another one (proximal: the trainer's
weights before the update). The two differ by numerics, quantisation and staleness. Without a
correction the ratio of the loss is taken to the behaviour policy, and its clip cuts a mismatch as
if it were an update. With one the trainer computes the proximal log-probabilities itself: the ratio
is taken to them, and every token has a constant weight made of w = proximal / behaviour. That is
the decoupled objective of AReaL, arXiv:2505.24298.

Shape suffixes: B rows (attempts), T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from agents.losses.corrections import (
    Level,
    importance_weights,
    normalize_weights,
    rejection_mask,
)

Outside = Literal["truncate", "zero"]


@dataclass(frozen=True)
class Correction:
    """The weight of every token.

    level      w of the token, or of its row: the product ("sequence") or the geometric mean; None:
               every weight is 1, and the ratio alone is decoupled
    low, high  bounds of the weight; None is no bound
    outside    what becomes of a weight outside: cut to the bound ("truncate"), or 0 ("zero")
    rows       bounds of the geometric mean of w over a row; a row outside has weights of 0
    normalize  divide by the mean weight of the batch

    A weight of 0 takes a token out of the loss and leaves it in the denominator (AReaL; verl
    counts it out). Raises ValueError for another level, or bounds that leave nothing.
    """

    level: Level | None = "token"
    low: float | None = None
    high: float | None = 2.0
    outside: Outside = "truncate"
    rows: tuple[float, float] | None = None
    normalize: bool = False

    def __post_init__(self) -> None:
        if self.level not in (None, *get_args(Level)):
            raise ValueError(f"level must be None or one of {get_args(Level)}, got {self.level!r}")
        if self.outside not in get_args(Outside):
            raise ValueError(f"outside must be one of {get_args(Outside)}, got {self.outside!r}")
        for low, high in ((self.low, self.high), self.rows or (None, None)):
            if not 0 <= (low or 0.0) < (math.inf if high is None else high):
                raise ValueError(f"expected bounds 0 <= low < high, got {low} and {high}")

    def weights(self, proximal_BT: Tensor, behaviour_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Return the weights of a whole batch; 0 where the mask is 0."""
        weights_BT = mask_BT.to(proximal_BT.dtype)
        if self.level is not None:
            weights_BT = importance_weights(
                proximal_BT, behaviour_BT, mask_BT,
                level=self.level, low=self.low, high=self.high, outside=self.outside,
            )
        if self.rows is not None:
            low, high = (math.log(max(bound, 1e-9)) for bound in self.rows)
            weights_BT = weights_BT * rejection_mask(
                proximal_BT, behaviour_BT, mask_BT, over="mean", low=low, high=high
            )
        if self.normalize:
            weights_BT = normalize_weights(weights_BT, mask_BT, self.level or "token")
        return weights_BT


def mismatch_metrics(
    proximal_BT: Tensor, behaviour_BT: Tensor, mask_BT: Tensor, weights_BT: Tensor
) -> dict[str, float]:
    """Means over the tokens of the mask.

    kl_rollout     behaviour - proximal: the k1 estimate of KL(behaviour, proximal), in nats
    weight         the weight; about 1 where the two policies agree
    weight_zero    share of tokens whose weight is 0
    """
    under = mask_BT > 0
    kl_N = torch.nan_to_num((behaviour_BT - proximal_BT)[under])
    weight_N = weights_BT[under]
    return {
        "kl_rollout": float(kl_N.mean()),
        "weight": float(weight_N.mean()),
        "weight_zero": float((weight_N == 0).float().mean()),
    }


CORRECTIONS: Mapping[str, Correction | None] = {
    "none": None,
    "proximal": Correction(level=None),
    "tis": Correction(),
    "sequence_tis": Correction("sequence"),
    "mis": Correction("sequence", 0.5, 2.0, "zero"),
    "icepop": Correction("token", 0.5, 5.0, "zero"),
    "areal": Correction("token", None, 5.0, "zero"),
    "masked_tis": Correction("token", None, None, rows=(0.5, 5.0)),
    "geometric_mask": Correction(None, rows=(0.99, 1.01)),
}
"""Corrections with a name.

none            the ratio is taken to the policy that sampled, and the clip sees the mismatch
proximal        the ratio is taken to the policy before the update; no weights (verl's default)
tis             truncated importance sampling: min(w, 2) per token (verl, SkyRL, slime)
sequence_tis    min(w of the row, 2) (verl)
mis             masked importance sampling: rows with w outside [0.5, 2] are left out (verl)
icepop          tokens with w outside [0.5, 5] are left out (OpenRLHF, verl)
areal           decoupled PPO: tokens with w above 5 are left out (AReaL's example)
masked_tis      w per token; rows with a geometric mean outside [0.5, 5] are left out (OpenRLHF)
geometric_mask  no weights; rows with a geometric mean outside [0.99, 1.01] are left out (SkyRL)
"""

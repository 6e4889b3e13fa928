"""From a loss per token to one number, with denominators counted over the whole batch.

Every reduction is a weighted sum over tokens whose weight depends on the row only, so the loss
of a micro-batch is a summand of the loss of the whole batch: sum the losses (do not average
them) and nothing depends on how the batch was cut.

Shape suffixes: B rows (attempts), T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Totals:
    """What the denominators need to know about the whole batch of one optimiser step.

    tokens      number of trained tokens (mask 1)
    sequences   number of rows; whether a row without a trained token counts is up to the caller
    length      the constant K of "seq_mean_token_sum_norm", e.g. the token limit of an attempt
    prompts     number of tasks, for "prompt_mean"

    With several data-parallel ranks count over all of them, and undo the averaging of
    gradients by multiplying the loss by the number of ranks.

    Raises ValueError when a number is not positive.
    """

    tokens: float
    sequences: float
    length: float = 1.0
    prompts: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"totals: {name} must be positive, got {value!r}")

    @classmethod
    def of(cls, mask_BT: Tensor, *, length: float | None = None, prompts: float = 1.0) -> Totals:
        """Count one whole batch; rows without a trained token are left out of `sequences`."""
        return cls(
            tokens=float(mask_BT.sum()),
            sequences=float((mask_BT.sum(dim=1) > 0).sum()),
            length=float(mask_BT.shape[1]) if length is None else length,
            prompts=prompts,
        )


def token_mean(mask_BT: Tensor, totals: Totals, prompt_tokens_B: Tensor | None) -> Tensor:
    """Every token of the batch weighs the same (DAPO; verl's and SkyRL's default)."""
    return torch.full_like(mask_BT[:, 0], 1.0 / totals.tokens)


def token_sum(mask_BT: Tensor, totals: Totals, prompt_tokens_B: Tensor | None) -> Tensor:
    """The plain sum."""
    return torch.ones_like(mask_BT[:, 0])


def seq_mean_token_mean(mask_BT: Tensor, totals: Totals, prompt_tokens_B: Tensor | None) -> Tensor:
    """Every attempt weighs the same, so a token of a long attempt weighs less (GRPO, GSPO)."""
    return 1.0 / (totals.sequences * mask_BT.sum(dim=1).clamp(min=1.0))


def seq_mean_token_sum(mask_BT: Tensor, totals: Totals, prompt_tokens_B: Tensor | None) -> Tensor:
    """The sum of the tokens, averaged over attempts."""
    return torch.full_like(mask_BT[:, 0], 1.0 / totals.sequences)


def seq_mean_token_sum_norm(
    mask_BT: Tensor, totals: Totals, prompt_tokens_B: Tensor | None
) -> Tensor:
    """The sum of the tokens over a constant length, averaged over attempts (Dr.GRPO)."""
    return torch.full_like(mask_BT[:, 0], 1.0 / (totals.sequences * totals.length))


def prompt_mean(mask_BT: Tensor, totals: Totals, prompt_tokens_B: Tensor | None) -> Tensor:
    """Every task weighs the same, and within a task every token (SkyRL).

    `prompt_tokens_B` holds for each row the number of trained tokens of all attempts at its task.
    """
    if prompt_tokens_B is None:
        raise ValueError("prompt_mean needs prompt_tokens_B, the trained tokens of each row's task")
    return 1.0 / (totals.prompts * prompt_tokens_B.clamp(min=1.0))


Reduction = Callable[[Tensor, Totals, Tensor | None], Tensor]

REDUCTIONS: Mapping[str, Reduction] = {
    "token_mean": token_mean,
    "token_sum": token_sum,
    "seq_mean_token_mean": seq_mean_token_mean,
    "seq_mean_token_sum": seq_mean_token_sum,
    "seq_mean_token_sum_norm": seq_mean_token_sum_norm,
    "prompt_mean": prompt_mean,
}


def reduce(
    loss_BT: Tensor,
    mask_BT: Tensor,
    reduction: str,
    totals: Totals,
    prompt_tokens_B: Tensor | None = None,
) -> Tensor:
    """Return the scalar sum over tokens of loss * mask * the reduction's row weight.

    What stands where the mask is 0 is ignored, NaN and infinity included.
    """
    weight_B = REDUCTIONS[reduction](mask_BT, totals, prompt_tokens_B)
    masked_BT = torch.where(mask_BT > 0, loss_BT, 0.0) * mask_BT
    return (masked_BT.sum(dim=1) * weight_B).sum()

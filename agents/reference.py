"""Keep a policy near a reference: a divergence per sampled token, reduced like the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from agents.likelihood import token_logprobs
from agents.losses import KL, Totals, kl_penalty, reduce
from agents.pretrained import without_adapter
from text2sql_gym.registry import lookup

Reference = Callable[[Tensor, Tensor, float, Tensor | None], Tensor]
"""From token ids and mask (both (B, T)), a temperature and the groups of the rows, as
`agents.likelihood.token_logprobs` takes them, to log-probabilities without gradient."""


@dataclass(frozen=True)
class Penalty:
    """``coefficient`` x the estimate of KL(policy, reference), over all tokens that are trained on.

    estimator  a name in `agents.losses.KL`

    Attempts of groups that teach nothing are left out, like of the loss. Source: GRPO,
    arXiv:2402.03300, equation 4, with the estimator k3.
    """

    reference: Reference
    coefficient: float
    estimator: str = "k3"

    def __post_init__(self) -> None:
        lookup(KL, self.estimator, "estimator of the divergence")
        if not self.coefficient > 0:
            raise ValueError(f"coefficient must be positive, got {self.coefficient}")

    def loss(
        self,
        logprobs_BT: Tensor,
        reference_BT: Tensor,
        mask_BT: Tensor,
        reduction: str,
        totals: Totals,
        prompt_tokens_B: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The share of a micro-batch in the loss, and in the mean divergence per token.

        `totals` are those of the whole minibatch; `prompt_tokens_B` is for the reduction
        "prompt_mean".
        """
        mask_BT = mask_BT.to(logprobs_BT.device)
        value_BT = kl_penalty(logprobs_BT, reference_BT, self.estimator)
        mean = reduce(value_BT.detach(), mask_BT, "token_mean", totals)
        loss = reduce(value_BT, mask_BT, reduction, totals, prompt_tokens_B)
        return self.coefficient * loss, mean


def frozen(model: PreTrainedModel) -> Reference:
    """A model of its own as the reference; it is switched to evaluation and never trained."""
    return partial(_logprobs, model.eval().requires_grad_(False))


def adapter_off(model: PreTrainedModel) -> Reference:
    """The weights under the adapter of a model: a reference that costs no memory."""

    def reference(*rows: Any) -> Tensor:
        with without_adapter(model):
            return _logprobs(model, *rows)

    return reference


def _logprobs(
    model: PreTrainedModel,
    ids_BT: Tensor,
    mask_BT: Tensor,
    temperature: float,
    group_B: Tensor | None = None,
) -> Tensor:
    with torch.no_grad():
        return token_logprobs(model, ids_BT, mask_BT, temperature, group_B)[0]

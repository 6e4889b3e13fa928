"""Log-probabilities of given tokens under a model, with a gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel


def token_logprobs(
    model: PreTrainedModel, token_ids_BT: Tensor, mask_BT: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return log p(token | tokens before it) and the entropy there, both (B, T), 0 off the mask.

    `temperature` is the sampler's; 0 (greedy) is read as 1. Padding is on the right, so causal
    attention needs no mask: no sampled token can see it. The vocabulary projection runs on
    masked positions only. Entropies carry no gradient.
    """
    device = model.device
    ids_BT, wanted_BT = token_ids_BT.to(device), mask_BT[:, 1:].to(device) > 0
    hidden_BTD = model.get_decoder()(input_ids=ids_BT[:, :-1], use_cache=False).last_hidden_state
    logits_NV = model.get_output_embeddings()(hidden_BTD[wanted_BT]).float()
    logprobs_NV = torch.log_softmax(logits_NV / (temperature or 1.0), dim=-1)
    chosen_N = logprobs_NV.gather(1, ids_BT[:, 1:][wanted_BT][:, None])[:, 0]
    with torch.no_grad():
        entropy_N = -(logprobs_NV.exp() * logprobs_NV).sum(dim=-1)
    shape = torch.zeros(mask_BT.shape, device=device)
    return _place(shape, wanted_BT, chosen_N), _place(shape, wanted_BT, entropy_N)


def _place(zeros_BT: Tensor, wanted_BT: Tensor, values_N: Tensor) -> Tensor:
    tail_BT = zeros_BT[:, 1:].masked_scatter(wanted_BT, values_N)
    return torch.cat([zeros_BT[:, :1], tail_BT], dim=1)

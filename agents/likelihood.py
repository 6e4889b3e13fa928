"""Log-probabilities of given tokens under a model, with a gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from agents.packing import packs, wanted_states

_LOGITS = 2**28
"""logits held at once: 1 GiB; with more, they are computed in parts, and again for the gradient"""


def token_logprobs(
    model: PreTrainedModel,
    token_ids_BT: Tensor,
    mask_BT: Tensor,
    temperature: float = 1.0,
    group_B: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return log p(token | tokens before it) and the entropy there, both (B, T), 0 off the mask.

    `temperature` is the sampler's; 0 (greedy) is read as 1. Padding is on the right, so causal
    attention needs no mask: no sampled token can see it. The vocabulary projection runs on
    masked positions only, in parts where a large vocabulary would take too much memory.
    Entropies carry no gradient. With `group_B`, the numbers of the rows' groups, what the rows of
    a group begin with is computed once.
    """
    device = model.device
    wanted_BT = mask_BT[:, 1:] > 0
    hidden_ND = _hidden(model, token_ids_BT, mask_BT, group_B)
    chosen_N = token_ids_BT[:, 1:][wanted_BT].to(device)
    head, heat = model.get_output_embeddings(), temperature or 1.0
    size = max(1, _LOGITS // model.config.get_text_config().vocab_size)
    if len(hidden_ND) <= size:
        scored = [_score(head, hidden_ND, chosen_N, heat)]
    else:
        scored = [
            checkpoint(_score, head, *part, heat, use_reentrant=False)
            for part in zip(torch.split(hidden_ND, size), torch.split(chosen_N, size), strict=True)
        ]
    logprobs_N, entropy_N = (torch.cat(parts) for parts in zip(*scored, strict=True))
    shape, wanted_BT = torch.zeros(mask_BT.shape, device=device), wanted_BT.to(device)
    return _place(shape, wanted_BT, logprobs_N), _place(shape, wanted_BT, entropy_N)


def _hidden(
    model: PreTrainedModel, token_ids_BT: Tensor, mask_BT: Tensor, group_B: Tensor | None
) -> Tensor:
    """The hidden states that predict the masked tokens, (N, D)."""
    ids_BT, wanted_BT = token_ids_BT[:, :-1], mask_BT[:, 1:] > 0
    if packs(model) and wanted_BT.any():
        alone_B = torch.arange(len(ids_BT))
        return wanted_states(model, ids_BT, wanted_BT, alone_B if group_B is None else group_B)
    ids_BT = ids_BT.to(model.device)
    hidden_BTD: Tensor = model.get_decoder()(input_ids=ids_BT, use_cache=False).last_hidden_state
    return hidden_BTD[wanted_BT.to(model.device)]


def _score(
    head: nn.Module, hidden_ND: Tensor, chosen_N: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probability of the chosen tokens, and the entropy of the distributions."""
    logits_NV = head(hidden_ND).float()
    if temperature != 1.0:
        logits_NV = logits_NV / temperature
    logprobs_NV = torch.log_softmax(logits_NV, dim=-1)
    with torch.no_grad():
        entropy_N = -(logprobs_NV.exp() * logprobs_NV).sum(dim=-1)
    return logprobs_NV.gather(1, chosen_N[:, None])[:, 0], entropy_N


def _place(zeros_BT: Tensor, wanted_BT: Tensor, values_N: Tensor) -> Tensor:
    tail_BT = zeros_BT[:, 1:].masked_scatter(wanted_BT, values_N)
    return torch.cat([zeros_BT[:, :1], tail_BT], dim=1)

"""Log-probabilities of given tokens under a model, with a gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from agents.attention import beginnings, states_before, takes_keys

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
    wanted_BT = mask_BT[:, 1:] > 0
    if group_B is not None and takes_keys(model):
        shared = beginnings(token_ids_BT, mask_BT, group_B)
        if shared.saved:
            return states_before(model, token_ids_BT[:, :-1], wanted_BT, shared)
    ids_BT = token_ids_BT[:, :-1].to(model.device)
    hidden_BTD: Tensor = model.get_decoder()(input_ids=ids_BT, use_cache=False).last_hidden_state
    return hidden_BTD[wanted_BT.to(model.device)]


def _score(
    head: nn.Module, hidden_ND: Tensor, chosen_N: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probability of the chosen tokens, and the entropy of the distributions."""
    logprobs_NV = torch.log_softmax(head(hidden_ND).float() / temperature, dim=-1)
    with torch.no_grad():
        entropy_N = -(logprobs_NV.exp() * logprobs_NV).sum(dim=-1)
    return logprobs_NV.gather(1, chosen_N[:, None])[:, 0], entropy_N


def _place(zeros_BT: Tensor, wanted_BT: Tensor, values_N: Tensor) -> Tensor:
    tail_BT = zeros_BT[:, 1:].masked_scatter(wanted_BT, values_N)
    return torch.cat([zeros_BT[:, :1], tail_BT], dim=1)

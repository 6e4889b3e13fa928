"""What attention of new tokens of every row looks at, and attention of one token a row.

PyTorch's fused attention is made for many queries. With one query a row it reads keys and values
of bf16 on a CPU three times slower than two batched products do (300 positions of 64 rows with 4
heads of 64, one core of AMD Zen 5: 6.4 and 2.0 ms; in fp32 2.9 and 2.1 ms), and the prompt of a
group once for every row of it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from agents.attention import attending
from agents.policies.prompts import Shared

_NAME = "one_token_a_row"


def additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What is added to the scores of attention for a mask: 0 where it is on, else the minimum."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(
        ~mask, torch.finfo(dtype).min
    )


def one_token_a_row(model: PreTrainedModel) -> AbstractContextManager[None]:
    """Let a model `attend` for the block."""
    return attending(model, _NAME)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None = None,
    shared: Shared | None = None,
    **options: object,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attention by the interface of transformers.

    query (B, heads, T, size); keys and values (B, key heads, C, size), before them those of shared
    prompts; mask, added to the scores, (B, 1, T, P + C). Returns (B, T, heads, size). By products
    for one token a row, and on a CPU; else the fused way.
    """
    layer, tokens = int(module.layer_idx), query.shape[2]  # type: ignore[arg-type]
    if shared is not None and tokens > 1:
        keys, values = shared.before(layer, keys, values)
        shared = None
    if mask is not None and scaling is not None and (tokens == 1 or query.device.type == "cpu"):
        return _by_products(query * scaling, keys, values, mask, layer, shared), None
    fused: tuple[torch.Tensor, None] = sdpa_attention_forward(
        module, query, keys, values, mask, scaling=scaling, **options
    )
    return fused


def _by_products(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    layer: int,
    shared: Shared | None,
) -> torch.Tensor:
    rows, heads, tokens, size = query.shape
    groups = keys.shape[1]  # key heads, each read by `each` queries
    each = heads // groups * tokens
    query = query.reshape(rows, groups, each, size)
    scores = torch.matmul(query, keys.transpose(2, 3))
    if shared is not None:
        scores = torch.cat([shared.scores(layer, query), scores], dim=-1)
    masked = scores.view(rows, groups, -1, tokens, mask.shape[-1]) + mask[:, :, None]
    weights = masked.float().softmax(dim=-1).to(values.dtype).flatten(2, 3)
    first, own = weights.tensor_split([weights.shape[-1] - keys.shape[2]], dim=-1)
    found = torch.matmul(own, values)
    if shared is not None:
        found = found + shared.weighted(layer, first)
    return found.view(rows, heads, tokens, size).transpose(1, 2)


AttentionInterface.register(_NAME, attend)

"""What attention of new tokens of every row looks at, and one of one token a row, for a CPU.

PyTorch's fused attention is made for many queries. With one query a row it reads keys and values
of bf16 three times slower than two batched products do (300 positions of 64 rows with 4 heads of
64, one core of AMD Zen 5: 6.4 and 2.0 ms; in fp32 2.9 and 2.1 ms).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

_NAME = "one_token_a_row"


def additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What is added to the scores of attention for a mask: 0 where it is on, else the minimum."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(
        ~mask, torch.finfo(dtype).min
    )


@contextmanager
def one_token_a_row(model: PreTrainedModel) -> Iterator[None]:
    """Let a model on a CPU `attend` for the block."""
    before = model.config._attn_implementation
    if model.device.type == "cpu":
        model.config._attn_implementation = _NAME
    try:
        yield
    finally:
        model.config._attn_implementation = before


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: object,
) -> tuple[torch.Tensor, None]:
    """Attention by the interface of transformers; several tokens a row go the fused way.

    query (B, heads, T, size); keys and values (B, key heads, C, size); mask, added to the scores,
    (B, 1, T, C). Returns (B, T, heads, size).
    """
    rows, heads, tokens, size = query.shape
    if tokens > 1 or mask is None or scaling is None:
        fused: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, keys, values, mask, scaling=scaling, **options
        )
        return fused
    shared = keys.shape[1]  # key heads, each read by heads / shared queries
    query = (query * scaling).reshape(rows, shared, heads // shared, size)
    scores = torch.matmul(keys, query.transpose(2, 3)).transpose(2, 3) + mask
    weights = scores.float().softmax(dim=-1).to(values.dtype)
    return torch.matmul(weights, values).reshape(rows, 1, heads, size), None


AttentionInterface.register(_NAME, attend)

"""Attention of pieces of one sequence: pieces of about one length in one product.

Shape suffixes: N tokens of the sequence, H heads, K heads of keys, P pieces, S tokens of the
longest of them, C tokens that it sees, D size of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "by_pieces"
"""of `attend`, among the implementations of attention of transformers"""

_WASTE = 1.3
"""scores computed for one that is needed, at most, where pieces are padded to the longest"""


@dataclass(frozen=True)
class Pieces:
    """Pieces of a sequence that attend side by side.

    spans       where each begins and ends, the longest first
    beginning   where that begins and ends which all of them see besides themselves; (0, 0) for none
    """

    spans: tuple[tuple[int, int], ...]
    beginning: tuple[int, int] = (0, 0)

    @property
    def longest(self) -> int:
        """Tokens of the longest piece."""
        return self.spans[0][1] - self.spans[0][0]

    @property
    def shared(self) -> int:
        """Tokens of the beginning."""
        return self.beginning[1] - self.beginning[0]


def side_by_side(sizes: Sequence[int], before: Sequence[int]) -> tuple[Pieces, ...]:
    """Sort pieces that lie one after another, of these sizes, into such as attend in one product.

    `before` has for each piece the number of the beginning that it sees, or -1. Those that see
    nothing but themselves, and so all beginnings, come first.
    """
    ends = list(accumulate(sizes))
    spans = [(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    found = []
    for beginning in sorted(set(before)):
        shared = spans[beginning] if beginning >= 0 else (0, 0)
        alike = [piece for piece, seen in enumerate(before) if seen == beginning]
        alike.sort(key=lambda piece: -sizes[piece])
        while alike:
            count = _together([sizes[piece] for piece in alike], shared[1] - shared[0])
            found.append(Pieces(tuple(spans[piece] for piece in alike[:count]), shared))
            alike = alike[count:]
    return tuple(found)


def _together(sizes: Sequence[int], shared: int) -> int:
    """How many pieces, from the longest on, waste no more than `_WASTE` when they are padded."""
    needed = 0
    for count, size in enumerate(sizes):
        needed += size * (shared + size)
        if (count + 1) * sizes[0] * (shared + sizes[0]) > _WASTE * needed:
            return count
    return len(sizes)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None = None,
    pieces: tuple[Pieces, ...] = (),
    **options: object,
) -> tuple[Tensor, Tensor | None]:
    """Attention by the interface of transformers; without pieces, PyTorch's.

    query (1, H, N, D); keys and values (1, K, N, D). Returns (1, N, H, D).
    """
    if not pieces:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, mask, scaling=scaling, **options
        )
        return found
    kind = query.device.type
    mixed = torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if mixed else query.dtype
    look = _Products.apply if kind == "cpu" else _fused
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    with torch.autocast(kind, enabled=False):
        queries, keys, values = (part[0].to(dtype) for part in (query * scaling, key, value))
        return look(queries, keys, values, pieces).transpose(0, 1)[None], None


@contextmanager
def attending(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Let a model attend by the implementation of this name for the block."""
    before = model.config._attn_implementation
    model.config._attn_implementation = name
    try:
        yield
    finally:
        model.config._attn_implementation = before


class _Products(torch.autograd.Function):
    """Attention with the scores of pieces as they are: (H, N, D).

    For a CPU, where the backward pass of PyTorch's fused attention is several times slower in
    bf16. Some pieces after another, so that what one product leaves is near for the next.
    """

    @staticmethod
    def forward(
        ctx: Any, query_HND: Tensor, key_KND: Tensor, value_KND: Tensor, pieces: tuple[Pieces, ...]
    ) -> Tensor:
        found_HND, kept = _room(query_HND), []
        for some in pieces:
            keys = _lay_out(key_KND, some, beginning=True).flatten(0, 1)
            values = _lay_out(value_KND, some, beginning=True).flatten(0, 1)
            queries = _lay_out(query_HND, some).view(len(keys), -1, keys.shape[-1])
            scores = torch.bmm(queries, keys.mT).view(-1, some.longest, keys.shape[1])
            later = ~_sees(some.longest, keys.shape[1], scores.device)
            chances = scores.masked_fill_(later, torch.finfo(scores.dtype).min).softmax(dim=-1)
            chances = chances.view(len(keys), -1, keys.shape[1])
            _place(torch.bmm(chances, values), some, found_HND)
            kept.append((queries, keys, values, chances))
        ctx.save_for_backward(*chain(*kept))
        ctx.pieces, ctx.shapes = pieces, (query_HND.shape, key_KND.shape, value_KND.shape)
        return found_HND

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_HND: Tensor) -> tuple[Tensor | None, ...]:
        kept = iter(ctx.saved_tensors)
        query_HND, key_KND, value_KND = (grad_HND.new_empty(shape) for shape in ctx.shapes)
        for some, queries, keys, values, chances in zip(ctx.pieces, kept, kept, kept, kept):
            grad = _lay_out(grad_HND, some).view_as(queries)
            scores = torch.ops.aten._softmax_backward_data(
                torch.bmm(grad, values.mT), chances, -1, chances.dtype
            )
            _place(torch.bmm(scores, keys), some, query_HND)
            _place(torch.bmm(scores.mT, queries), some, key_KND, beginning=True)
            _place(torch.bmm(chances.mT, grad), some, value_KND, beginning=True)
        return query_HND, key_KND, value_KND, None


def _fused(
    query_HND: Tensor, key_KND: Tensor, value_KND: Tensor, pieces: tuple[Pieces, ...]
) -> Tensor:
    """The same by PyTorch's fused attention, which holds no scores."""
    found = _room(query_HND)
    for some in pieces:
        queries = _lay_out(query_HND, some)
        keys, values = (_lay_out(part, some, beginning=True) for part in (key_KND, value_KND))
        sees = _sees(queries.shape[2], keys.shape[2], queries.device)
        looked = scaled_dot_product_attention(
            queries, keys, values, sees, scale=1.0, enable_gqa=True
        )
        _place(looked, some, found)
    return found


def _room(like_HND: Tensor) -> Tensor:
    """Room for a part as a layer goes on with it, the heads of a token side by side: (H, N, D)."""
    heads, tokens, size = like_HND.shape
    return like_HND.new_empty(tokens, heads, size).transpose(0, 1)


def _lay_out(part_HND: Tensor, some: Pieces, *, beginning: bool = False) -> Tensor:
    """Pieces side by side, padded with zeros, each after the beginning if so: (P, H, C, D)."""
    heads, _, size = part_HND.shape
    shared = some.shared if beginning else 0
    laid_PHCD = part_HND.new_zeros(len(some.spans), heads, shared + some.longest, size)
    if shared:
        laid_PHCD[:, :, :shared] = part_HND[:, slice(*some.beginning)]
    for place, (start, end) in enumerate(some.spans):
        laid_PHCD[place, :, shared : shared + end - start] = part_HND[:, start:end]
    return laid_PHCD


def _place(laid: Tensor, some: Pieces, part_HND: Tensor, *, beginning: bool = False) -> None:
    """Put pieces where they are in the sequence, and add to their beginning if so."""
    heads, _, size = part_HND.shape
    shared = some.shared if beginning else 0
    laid_PHCD = laid.view(len(some.spans), heads, -1, size)
    for place, (start, end) in enumerate(some.spans):
        part_HND[:, start:end] = laid_PHCD[place, :, shared : shared + end - start]
    if shared:
        part_HND[:, slice(*some.beginning)] += laid_PHCD[:, :, :shared].sum(dim=0)


def _sees(tokens: int, width: int, device: torch.device) -> Tensor:
    """Which of all tokens each of the last ones sees: itself and those before it."""
    return torch.ones(tokens, width, dtype=torch.bool, device=device).tril(width - tokens)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)

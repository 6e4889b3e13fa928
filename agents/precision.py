"""In which precision, and with which attention, a model is trained where it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel

from agents.attention import NAME
from agents.packing import is_plain

PRECISIONS = ("auto", "fp32", "bf16")


def resolve(precision: str, device: torch.device) -> str:
    """"bf16" or "fp32" for "auto": bf16 where the hardware multiplies in it, else fp32.

    A processor without bfloat16 instructions emulates them 30 to 60 times slower than fp32.
    Raises ValueError for a precision that is none.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {PRECISIONS}, got {precision!r}")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if native else "fp32"


@contextmanager
def training(model: nn.Module, precision: str = "auto") -> Iterator[None]:
    """Train mode, mixed precision, and the attention that rows are trained with, for the block.

    Weights, optimiser state and log-softmax stay in the model's own dtype. Models whose rows are
    packed attend as `agents.attention` says. Others have eager attention on a CPU: the backward
    pass of PyTorch's fused attention is several times slower there in bf16.
    """
    first = next(model.parameters())
    kind = first.device.type
    mixed = resolve(precision, first.device) == "bf16" and first.dtype == torch.float32
    plain = "eager" if kind == "cpu" else ""
    model.train()
    try:
        # the cache would keep the weights of the first step for the whole block
        with (
            _attention(model, NAME if is_plain(model) else plain),
            torch.autocast(kind, torch.bfloat16, enabled=mixed, cache_enabled=False),
        ):
            yield
    finally:
        model.eval()


@contextmanager
def _attention(model: nn.Module, kind: str) -> Iterator[None]:
    """Another attention for the block, where the model is a transformer and `kind` is not ""."""
    if not (kind and isinstance(model, PreTrainedModel)):
        yield
        return
    before = model.config._attn_implementation
    model.set_attn_implementation(kind)
    try:
        yield
    finally:
        model.set_attn_implementation(before)

"""By which engine a model is sampled."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from transformers import PreTrainedModel

from agents.chat import Chat
from agents.policies.base import Sampler
from agents.policies.transformers import TransformersSampler

MakeSampler = Callable[[PreTrainedModel, Chat, int, int, torch.dtype | None], Sampler]
"""From model, chat, episodes in flight, tokens of an episode, and the dtype that is sampled in
(None: the model's own) to a sampler."""


def _vllm(
    model: PreTrainedModel, chat: Chat, rows: int, context: int, dtype: torch.dtype | None = None
) -> Sampler:
    from agents.policies.vllm import VllmSampler  # its extra may not be there

    return VllmSampler(model, chat, rows, context, dtype)


SAMPLERS: dict[str, MakeSampler] = {
    "transformers": TransformersSampler,
    "vllm": _vllm,
}
"""Engines by name."""


def require(engine: str) -> None:
    """Raise ImportError naming the extra where an engine is not installed; nothing is imported."""
    if engine == "vllm" and find_spec("vllm") is None:
        raise ImportError("sampling by vLLM needs pip install 'text2sql-gym[vllm]'")

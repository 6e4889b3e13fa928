"""Pretrained causal language models: loaded, placed, adapted by LoRA, and loaded again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from agents import precision

_ADAPTER = "adapter_config.json"


@dataclass(frozen=True)
class Lora:
    """Low-rank updates of every linear layer but the head; the weights under them are frozen.

    rank   of the two factors of an update
    alpha  the update is scaled by alpha / rank

    Source: Hu et al. 2021, arXiv:2106.09685, in the implementation of peft. All linear layers, and
    no dropout, so that the sampler and the learner are the same function, are choices made here.
    """

    rank: int
    alpha: float

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0:
            raise ValueError(f"lora: expected rank >= 1 and alpha > 0, got {self}")

    def add_to(self, model: PreTrainedModel, seed: int) -> None:
        """Freeze the weights of `model` and add an adapter, which changes nothing at first.

        The one factor is zero, the other drawn from `seed`.
        """
        config = _peft().LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model.add_adapter(config)


def place(name: str = "") -> torch.device:
    """The device of this name; "" is a CUDA device where there is one, else the CPU."""
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def weights_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of weights: "fp32", "bf16", or "auto", bf16 on a CUDA device that has it.

    Raises ValueError for another name.
    """
    on_cpu = name == "auto" and device.type == "cpu"
    kind = "fp32" if on_cpu else precision.resolve(name, device)
    return torch.bfloat16 if kind == "bf16" else torch.float32


def load(
    source: str | Path, device: torch.device, dtype: torch.dtype | None = None
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """Tokenizer and model of a folder or a hub id, in `dtype`, or the one it is stored in.

    The folder may be a checkpoint of an adapter: then the weights under it are loaded from where
    it says that they are, and the adapter can be trained on. Raises OSError for what is not there.
    """
    folder = Path(source)
    name = str(folder.resolve()) if folder.is_dir() else str(source)  # stored with an adapter
    options: dict[str, Any] = {"dtype": "auto" if dtype is None else dtype}
    tokenizer = AutoTokenizer.from_pretrained(name)
    if (folder / _ADAPTER).is_file():
        base = _peft().PeftConfig.from_pretrained(name).base_model_name_or_path
        model = AutoModelForCausalLM.from_pretrained(base, **options)
        model.load_adapter(name, is_trainable=True)
    else:
        model = AutoModelForCausalLM.from_pretrained(name, **options)
    return tokenizer, model.to(device).eval()


def has_adapter(model: PreTrainedModel) -> bool:
    """Whether an adapter is trained on top of frozen weights."""
    return bool(getattr(model, "_hf_peft_config_loaded", False))


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Keep the inputs of the layers only, and compute the rest again in the backward pass."""
    model.gradient_checkpointing_enable({"use_reentrant": False})


@contextmanager
def without_adapter(model: PreTrainedModel) -> Iterator[None]:
    """The weights under the adapter alone, for the block. No graph may be open across it."""
    model.disable_adapters()
    try:
        yield
    finally:
        model.enable_adapters()


def merged_weights(model: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and values of the weights without an adapter: its updates are added where they belong.

    Weights that are one (a tied head) are given once. Nothing carries a gradient.
    """
    updated = {}
    if has_adapter(model):
        layers = _peft().tuners.lora.LoraLayer
        for place, module in model.named_modules():
            if isinstance(module, layers):
                delta = module.get_delta_weight(module.active_adapters[0])
                updated[f"{place}.weight"] = delta.detach()
    for name, weight in model.named_parameters():
        if "lora_" in name:
            continue
        plain, value = name.replace(".base_layer", ""), weight.detach()
        yield plain, value + updated[plain].to(value.dtype) if plain in updated else value


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ImportError("LoRA needs peft: pip install 'text2sql-gym[lora]'") from error
    return peft

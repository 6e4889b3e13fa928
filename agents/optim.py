"""Optimisers, by name: AdamW for everything, or Muon on matrices and AdamW on the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

Betas = tuple[float, float]


class Optimizer:
    """Torch optimisers over disjoint parameters that step together at one learning rate."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)

    def step(self, learning_rate: float) -> None:
        """Apply the gradients at a learning rate, and clear them."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = learning_rate
            part.step()
        self.zero_grad()

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Everything besides the weights."""
        return {str(place): part.state_dict() for place, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for place, part in enumerate(self.parts):
            part.load_state_dict(state[str(place)])


def adamw(model: nn.Module, betas: Betas, weight_decay: float) -> Optimizer:
    """AdamW for every parameter that is trained: what pretrained models are fine-tuned with."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return Optimizer([torch.optim.AdamW(trained, betas=betas, weight_decay=weight_decay)])


def muon(model: nn.Module, betas: Betas, weight_decay: float) -> Optimizer:
    """Muon for the matrices of the hidden layers, AdamW for embeddings, norms and biases.

    One learning rate serves both: Muon's step is scaled to the root mean square of AdamW's. Muon
    has a momentum of 0.95. A small transformer with random weights learns with it, in a third of
    the steps, what it learns with AdamW alone; the copying of names from a schema most of all.

    Source: Jordan et al. 2024 (github.com/KellerJordan/Muon); the scaling is that of Liu et al.
    2025, arXiv:2502.16982, section 2.2. The arithmetic is `torch.optim.Muon`'s.
    """
    vocabulary = {id(weight) for weight in _vocabulary(model)}
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            hidden = parameter.ndim == 2 and id(parameter) not in vocabulary
            (matrices if hidden else others).append(parameter)
    return Optimizer([
        torch.optim.Muon(matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, betas=betas, weight_decay=weight_decay),
    ])


def _vocabulary(model: nn.Module) -> list[nn.Parameter]:
    if not isinstance(model, PreTrainedModel):
        return []
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    return [end.weight for end in ends if end is not None]


OPTIMIZERS: dict[str, Callable[[nn.Module, Betas, float], Optimizer]] = {
    "adamw": adamw,
    "muon": muon,
}

"""Optimisers, by name: AdamW for everything, or Muon on matrices and AdamW on the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

Betas = tuple[float, float]
Copied = tuple[nn.Parameter, nn.Parameter]


class Optimizer:
    """Torch optimisers over disjoint parameters that step together at one learning rate.

    `copies` are the fp32 copies that the parts step in place of parameters of fewer bits: a step
    of 1e-6 is less than half the distance between two neighbours in bf16, and would be lost.
    """

    def __init__(
        self, parts: Sequence[torch.optim.Optimizer], copies: Sequence[Copied] = ()
    ) -> None:
        self.parts, self.copies = tuple(parts), tuple(copies)

    def step(self, learning_rate: float) -> None:
        """Apply the gradients at a learning rate, and clear them."""
        for parameter, copy in self.copies:
            copy.grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = learning_rate
            part.step()
        with torch.no_grad():
            for parameter, copy in self.copies:
                parameter.copy_(copy)
        self.zero_grad()

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)
        for parameter, _ in self.copies:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Everything besides the weights."""
        state: dict[str, Any] = {str(p): part.state_dict() for p, part in enumerate(self.parts)}
        if self.copies:
            state["copies"] = [copy.detach() for _, copy in self.copies]
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for place, part in enumerate(self.parts):
            part.load_state_dict(state[str(place)])
        with torch.no_grad():
            for (_, copy), saved in zip(self.copies, state.get("copies", []), strict=True):
                copy.copy_(saved)


def adamw(model: nn.Module, betas: Betas, weight_decay: float) -> Optimizer:
    """AdamW for every parameter that is trained: what pretrained models are fine-tuned with."""
    copies = _copies(model)
    trained = [copies.get(p, p) for p in model.parameters() if p.requires_grad]
    part = torch.optim.AdamW(trained, betas=betas, weight_decay=weight_decay)
    return Optimizer([part], list(copies.items()))


def muon(model: nn.Module, betas: Betas, weight_decay: float) -> Optimizer:
    """Muon for the matrices of the hidden layers, AdamW for embeddings, norms and biases.

    One learning rate serves both: Muon's step is scaled to the root mean square of AdamW's. Muon
    has a momentum of 0.95. A small transformer with random weights learns with it, in a third of
    the steps, what it learns with AdamW alone; the copying of names from a schema most of all.

    Source: Jordan et al. 2024 (github.com/KellerJordan/Muon); the scaling is that of Liu et al.
    2025, arXiv:2502.16982, section 2.2. The arithmetic is `torch.optim.Muon`'s.
    """
    vocabulary = {id(weight) for weight in _vocabulary(model)}
    copies = _copies(model)
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            hidden = parameter.ndim == 2 and id(parameter) not in vocabulary
            (matrices if hidden else others).append(copies.get(parameter, parameter))
    parts = [
        torch.optim.Muon(matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, betas=betas, weight_decay=weight_decay),
    ]
    return Optimizer(parts, list(copies.items()))


def _copies(model: nn.Module) -> dict[nn.Parameter, nn.Parameter]:
    """The fp32 copy of every trained parameter of fewer bits."""
    return {
        parameter: nn.Parameter(parameter.detach().float())
        for parameter in model.parameters()
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16)
    }


def _vocabulary(model: nn.Module) -> list[nn.Parameter]:
    if not isinstance(model, PreTrainedModel):
        return []
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    return [end.weight for end in ends if end is not None]


OPTIMIZERS: dict[str, Callable[[nn.Module, Betas, float], Optimizer]] = {
    "adamw": adamw,
    "muon": muon,
}

"""What a model of learned signals sees and gives, whatever wrote the attempts.

Shape suffixes: G attempts at one task, S steps of one attempt, F numbers of a state, D numbers of a
step, N steps of all examples one after the other.

A model sees numbers per step. Where they come from is the business of the policy's tier: pooled
features of an action menu, or hidden states of a language model.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from agents.credit.base import GroupSignals, Ragged

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StepFeatures:
    """Numbers of the steps of one attempt.

    before_SF   the state in which each step was chosen, without the step
    step_SD     the step and what came back: execution-aware where the tier shows results

    Raises ValueError when the two have not the same number of steps, or are not finite.
    """

    before_SF: Float32
    step_SD: Float32

    def __post_init__(self) -> None:
        if self.before_SF.ndim != 2 or self.step_SD.ndim != 2:
            raise ValueError("expected features as steps x numbers")
        if len(self.before_SF) != len(self.step_SD):
            raise ValueError(f"{len(self.before_SF)} states, but {len(self.step_SD)} steps")
        if not (np.isfinite(self.before_SF).all() and np.isfinite(self.step_SD).all()):
            raise ValueError("features must be finite")


@dataclass(frozen=True)
class Example:
    """One group of attempts for a model.

    restore_GS   what puts a policy back before each step (`Continuations`); may be empty
    labels_GS    chance of success after each step, by rollouts; may be empty

    Raises ValueError when features and steps do not fit.
    """

    signals: GroupSignals
    features_G: tuple[StepFeatures, ...] = ()
    restore_GS: tuple[tuple[Hashable, ...], ...] = ()
    labels_GS: Ragged = ()

    def __post_init__(self) -> None:
        steps_G = self.signals.steps_G
        given = {
            "features": tuple(len(features.before_SF) for features in self.features_G),
            "restore": tuple(map(len, self.restore_GS)),
            "labels": tuple(map(len, self.labels_GS)),
        }
        for name, lengths in given.items():
            if lengths and lengths != steps_G:
                raise ValueError(f"{name}: expected attempts of {steps_G} steps, got {lengths}")


class SignalModel(Protocol):
    """Gives named signals of steps, and learns from examples."""

    gives: ClassVar[tuple[str, ...]]

    def signals(self, examples: Sequence[Example]) -> list[Mapping[str, Ragged]]:
        """Return the signals of every example; nothing is learned from it."""

    def fit(self, examples: Sequence[Example]) -> dict[str, float]:
        """Learn from examples; return what there is to log."""

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""


@dataclass(frozen=True)
class Fitting:
    """How a small network is built and trained.

    `steps` optimiser steps per call of `fit`, each on `rows` rows drawn at random (steps of
    attempts, or whole attempts where a loss asks for them).
    """

    hidden: int = 64
    layers: int = 2
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    steps: int = 60
    rows: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "steps", "rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class Network:
    """A small multilayer perceptron with one output, its optimiser, and its random numbers.

    It is made at the first call, when the number of inputs is known; the output starts at 0.
    """

    def __init__(self, fitting: Fitting) -> None:
        self.fitting = fitting
        self._draws = torch.Generator().manual_seed(fitting.seed)
        self._inputs = 0
        self._module = nn.Sequential()
        self._optimizer = torch.optim.AdamW([torch.zeros(1)])

    def __call__(self, x_ND: Tensor) -> Tensor:
        """Return one number per row."""
        return self._made(x_ND.shape[-1])(x_ND).squeeze(-1)  # type: ignore[no-any-return]

    def no_grad(self, x_ND: Float32) -> npt.NDArray[np.float64]:
        """The same on arrays, without a gradient."""
        with torch.no_grad():
            return self(torch.as_tensor(x_ND)).double().numpy()

    def draw(self, rows: int) -> Tensor:
        """Numbers of at most `Fitting.rows` rows, without repeats."""
        return torch.randperm(rows, generator=self._draws)[: self.fitting.rows]

    def descend(self, loss: Tensor) -> float:
        """Take one optimiser step; return the loss. Raises ValueError when it is not finite."""
        if not torch.isfinite(loss):
            raise ValueError(f"the loss of a learned signal is {float(loss)}")
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._module.parameters(), 1.0)
        self._optimizer.step()
        return float(loss.detach())

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser and random numbers; 0 inputs before the first call."""
        state = {
            "inputs": self._inputs,
            "module": self._module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "draws": self._draws.get_state(),
        }
        return deepcopy(state)  # torch hands out the tensors that the next step changes

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._draws.set_state(state["draws"])
        self._inputs = 0
        if state["inputs"]:
            self._made(state["inputs"]).load_state_dict(state["module"])
            self._optimizer.load_state_dict(state["optimizer"])

    def _made(self, inputs: int) -> nn.Sequential:
        """The module; raises ValueError when it was made for another number of inputs."""
        if self._inputs not in (0, inputs):
            raise ValueError(f"expected features of {self._inputs} numbers, got {inputs}")
        if not self._inputs:
            self._inputs = inputs
            self._module = _perceptron(inputs, self.fitting)
            self._optimizer = torch.optim.AdamW(
                self._module.parameters(),
                lr=self.fitting.learning_rate,
                weight_decay=self.fitting.weight_decay,
            )
        return self._module


def _perceptron(inputs: int, fitting: Fitting) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fitting.seed)
        parts: list[nn.Module] = [nn.LayerNorm(inputs, elementwise_affine=False)]
        for layer in range(fitting.layers):
            width = inputs if layer == 0 else fitting.hidden
            parts += [nn.Linear(width, fitting.hidden), nn.Tanh()]
        last = nn.Linear(fitting.hidden, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*parts, last)


def with_learned(group: GroupSignals, learned: Mapping[str, Ragged]) -> GroupSignals:
    """Return the group with more learned signals."""
    return replace(group, learned_GS={**group.learned_GS, **learned})


def befores(examples: Sequence[Example]) -> Float32:
    """The states of all steps of all examples, (N, F)."""
    return np.concatenate([f.before_SF for example in examples for f in example.features_G])


def steps(examples: Sequence[Example]) -> Float32:
    """The steps of all examples, (N, D)."""
    return np.concatenate([f.step_SD for example in examples for f in example.features_G])


def split_like(
    x_N: npt.NDArray[np.float64], examples: Sequence[Example]
) -> list[Ragged]:
    """Cut numbers of all steps back into one ragged signal per example."""
    lengths = [steps for example in examples for steps in example.signals.steps_G]
    rows = iter(np.split(x_N, np.cumsum(lengths)[:-1]))
    return [tuple(next(rows) for _ in example.signals.steps_G) for example in examples]

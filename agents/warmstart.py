"""Supervised start: imitate demonstrations before any reward is seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from agents import memory, precision
from agents.batch import Batch, token_rows
from agents.likelihood import token_logprobs
from agents.optim import OPTIMIZERS
from agents.packing import is_plain
from agents.types import Trajectory
from text2sql_gym.registry import lookup

_BLOCK = 4
"""optimiser steps whose demonstrations are drawn together"""

_TRIM = 20
"""optimiser steps between looks at how much memory lies free"""


@dataclass(frozen=True)
class Imitation:
    """How demonstrations are imitated.

    steps          optimiser steps; a batch is `batch_size` demonstrations
    learning_rate  reached after `warmup` steps, then lowered to a tenth along a cosine
    precision      see `agents.precision`
    optimizer      a name in `agents.optim.OPTIMIZERS`
    """

    steps: int = 1_000
    batch_size: int = 16
    learning_rate: float = 8e-3
    warmup: int = 50
    max_grad_norm: float = 1.0
    token_budget: int = 4_000
    precision: str = "auto"
    optimizer: str = "muon"

    def __post_init__(self) -> None:
        lookup(OPTIMIZERS, self.optimizer, "optimizer")
        precision.resolve(self.precision, torch.device("cpu"))

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


class WarmStart:
    """Imitate demonstrations, one optimiser step at a time; every step is a function of its number.

    The batch of step n is drawn from (seed, n) alone, so a run that is resumed after step n
    continues exactly as one that was never interrupted.
    """

    def __init__(self, model: PreTrainedModel, imitation: Imitation, seed: int) -> None:
        self.model, self.imitation, self.seed = model, imitation, seed
        self.optimizer = OPTIMIZERS[imitation.optimizer](model, (0.9, 0.98), 0.0)

    def run(
        self,
        demonstrations: Sequence[Trajectory],
        first_step: int,
        on_step: Callable[[int, float], None],
    ) -> None:
        """Take the steps from `first_step` on; `on_step` gets each step's number and loss."""
        with precision.training(self.model, self.imitation.precision):
            for step in range(first_step, self.imitation.steps):
                sample = self._sample(demonstrations, step)
                on_step(step, self._step(step, token_rows(sample)))
                if step % _TRIM == 0:
                    memory.trim()

    def _sample(self, demonstrations: Sequence[Trajectory], step: int) -> list[Trajectory]:
        """The demonstrations of one step: without replacement within an epoch.

        Those of `_BLOCK` steps are drawn together and dealt out by length, so that little is
        padded.
        """
        size, block = self.imitation.batch_size, step // _BLOCK
        places = epochs(len(demonstrations), self.seed, block * _BLOCK * size)
        drawn = [demonstrations[next(places)] for _ in range(_BLOCK * size)]
        drawn.sort(key=lambda attempt: attempt.tokens)
        part = np.random.default_rng((self.seed, block)).permutation(_BLOCK)[step % _BLOCK]
        return drawn[part * size : (part + 1) * size]

    def _step(self, step: int, batch: Batch) -> float:
        tokens = float(batch.mask_BT.sum())
        total = 0.0
        for index in batch.micro_batches(self.imitation.token_budget, packed=is_plain(self.model)):
            part = batch.rows(index)
            logprobs_BT, _ = token_logprobs(self.model, part.token_ids_BT, part.mask_BT)
            loss = -logprobs_BT.sum() / tokens
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        if not math.isfinite(total):
            raise FloatingPointError(f"the imitation loss is {total} at step {step}")
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.imitation.max_grad_norm)
        self.optimizer.step(self.imitation.rate(step))
        return total


def epochs(count: int, seed: int, start: int) -> Iterator[int]:
    """Endless places below `count`: a fresh permutation per epoch, entered at place `start`."""
    epoch, offset = divmod(start, count)
    while True:
        order = np.random.default_rng((seed, epoch)).permutation(count)
        yield from order[offset:].tolist()
        epoch, offset = epoch + 1, 0

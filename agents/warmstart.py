"""Supervised start: imitate demonstrations before any reward is seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from agents.batch import Batch, token_rows
from agents.likelihood import token_logprobs
from agents.types import Trajectory


@dataclass(frozen=True)
class Imitation:
    """How demonstrations are imitated.

    steps          optimiser steps; a batch is `batch_size` demonstrations
    short_first    share of these steps that see the shorter half of the demonstrations only
    learning_rate  reached after `warmup` steps, then lowered to a tenth along a cosine
    """

    steps: int = 1_000
    short_first: float = 0.0
    batch_size: int = 16
    learning_rate: float = 3e-3
    warmup: int = 50
    weight_decay: float = 0.05
    max_grad_norm: float = 1.0
    token_budget: int = 1_500

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
        self.optimizer = torch.optim.AdamW(
            model.parameters(), betas=(0.9, 0.98), weight_decay=imitation.weight_decay
        )

    def run(
        self,
        demonstrations: Sequence[Trajectory],
        first_step: int,
        on_step: Callable[[int, float], None],
    ) -> None:
        """Take the steps from `first_step` on; `on_step` gets each step's number and loss."""
        ordered = sorted(demonstrations, key=_length)
        self.model.train()
        for step in range(first_step, self.imitation.steps):
            on_step(step, self._step(step, self._batch(ordered, step)))
        self.model.eval()

    def _batch(self, ordered: Sequence[Trajectory], step: int) -> Batch:
        """The rows of one step; `ordered` holds the shorter demonstrations first."""
        if step < self.imitation.short_first * self.imitation.steps:
            ordered = ordered[: (len(ordered) + 1) // 2]
        return token_rows(self._sample(ordered, step))

    def _sample(self, demonstrations: Sequence[Trajectory], step: int) -> list[Trajectory]:
        """The demonstrations of one step: without replacement within an epoch."""
        size, count = self.imitation.batch_size, len(demonstrations)
        places = epochs(count, self.seed, step * size)
        return [demonstrations[next(places)] for _ in range(size)]

    def _step(self, step: int, batch: Batch) -> float:
        tokens = float(batch.mask_BT.sum())
        total = 0.0
        for index in batch.micro_batches(self.imitation.token_budget):
            part = batch.rows(index)
            logprobs_BT, _ = token_logprobs(self.model, part.token_ids_BT, part.mask_BT)
            loss = -logprobs_BT.sum() / tokens
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        if not math.isfinite(total):
            raise FloatingPointError(f"the imitation loss is {total} at step {step}")
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.imitation.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.imitation.rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total


def epochs(count: int, seed: int, start: int) -> Iterator[int]:
    """Endless places below `count`: a fresh permutation per epoch, entered at place `start`."""
    epoch, offset = divmod(start, count)
    while True:
        order = np.random.default_rng((seed, epoch)).permutation(count)
        yield from order[offset:].tolist()
        epoch, offset = epoch + 1, 0


def _length(demonstration: Trajectory) -> int:
    return sum(len(s.context_ids) + len(s.completion.token_ids) for s in demonstration.steps)

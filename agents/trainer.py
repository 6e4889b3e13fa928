"""The trainer: collect, credit, assemble, step. It sees numbers per token, never an algorithm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from agents import memory, precision
from agents.batch import Batch, assemble
from agents.credit.base import Credit, Estimator, assign
from agents.credit.tokens import by_step
from agents.likelihood import token_logprobs
from agents.losses import Objective, Totals, mismatch_metrics, policy_loss
from agents.metrics import rollout_metrics
from agents.optim import OPTIMIZERS
from agents.overlong import Overlong
from agents.packing import is_plain
from agents.reference import Penalty
from agents.stopwatch import Stopwatch
from agents.types import Group
from text2sql_gym.registry import lookup

Metrics = dict[str, float]
M = TypeVar("M", bound=torch.nn.Module)


class TrainingError(RuntimeError):
    """Training cannot go on; the message says what was seen. The last checkpoint stands."""


class Signals(Protocol):
    """Adds signals that are learned on the way to groups: see `agents.learned`."""

    def __call__(self, groups: Sequence[Group]) -> tuple[list[Group], Metrics]:
        """Return the groups with more signals, and what there is to log; then learn from them."""

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""


@dataclass(frozen=True)
class Optimization:
    """How weights are changed.

    learning_rate   reached after `warmup` optimiser steps, then constant
    minibatches     optimiser steps per collected batch; rows are dealt out evenly
    token_budget    tokens of one micro-batch, in which the prompt of a group counts once, and
                    padding counts where the model's rows cannot be packed; it changes memory and
                    speed, not results
    optimizer       a name in `agents.optim.OPTIMIZERS`
    precision       see `agents.precision`; whatever it is, weights keep their own dtype
    """

    learning_rate: float = 3e-4
    warmup: int = 5
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    minibatches: int = 1
    token_budget: int = 2_048
    optimizer: str = "adamw"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        lookup(OPTIMIZERS, self.optimizer, "optimizer")
        precision.resolve(self.precision, torch.device("cpu"))


class Trainer(Generic[M]):
    """One optimiser over one model; `update` turns groups into one change of the weights.

    `signals` gives an estimator what has to be learned first. With `by_token` the estimator's unit
    of time is the sampled token, not the turn: token-level PPO, where the estimator is GAE.

    A model that reads something else than tokens overrides `_assemble` and `_logprobs`.
    """

    def __init__(
        self,
        model: M,
        estimator: Estimator,
        objective: Objective = Objective(),
        optimization: Optimization = Optimization(),
        temperature: float = 1.0,
        *,
        penalty: Penalty | None = None,
        overlong: Overlong = Overlong(),
        signals: Signals | None = None,
        by_token: bool = False,
    ) -> None:
        self.model, self.estimator, self.objective = model, estimator, objective
        self.optimization, self.temperature = optimization, temperature
        self.penalty, self.overlong = penalty, overlong
        self.signals, self.by_token = signals, by_token
        make = OPTIMIZERS[optimization.optimizer]
        self.optimizer = make(model, optimization.betas, optimization.weight_decay)
        self.steps = 0
        self.credits: list[Credit] = []
        """the credit of each group of the last update, per step"""

    def update(self, groups: Sequence[Group]) -> Metrics:
        """Credit the groups and take `minibatches` optimiser steps.

        The metrics are those of `rollout_metrics`, of the losses, with a correction of
        `mismatch_metrics`, and of learned signals; and the seconds spent in signals, credit,
        assemble, proximal (the forward pass of a correction), logprobs (the forward pass with the
        loss), backward and optimizer.
        Groups whose credit is zero on every step teach nothing and are left out; if that is all
        of them, the weights stay as they are.

        Raises `TrainingError` on a loss or gradient that is not finite, before it is applied;
        the minibatches before it have been.
        """
        watch = Stopwatch(settled(next(self.model.parameters()).device))
        learned: Metrics = {}
        if self.signals is not None:
            with watch("signals"):
                groups, learned = self.signals(groups)
        with watch("credit"):
            credits = self._credit(groups)
            kept = [
                (group, credit)
                for group, credit in zip(groups, credits, strict=True)
                if _teaches(credit)
            ]
        metrics = rollout_metrics(groups) | {"groups_kept": len(kept) / len(groups)} | learned
        if kept:
            with watch("assemble"):
                batch = self._assemble(*map(list, zip(*kept, strict=True)))
            metrics |= self._optimize(batch, watch)
        memory.trim()
        return metrics | watch.metrics()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides the weights."""
        state = {"optimizer": self.optimizer.state_dict(), "steps": self.steps}
        return state | ({} if self.signals is None else {"signals": self.signals.state_dict()})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
        if self.signals is not None:
            self.signals.load_state_dict(state["signals"])

    def _credit(self, groups: Sequence[Group]) -> list[Credit]:
        """The credit of the groups, per sampled token with `by_token`; per step in `credits`."""
        seen = [self.overlong.signals(group, by_token=self.by_token) for group in groups]
        given = [*map(self.overlong.credit, groups, assign(self.estimator, seen))]
        self.credits = [*map(_per_step, groups, given)] if self.by_token else given
        return given

    def _assemble(self, groups: list[Group], credits: list[Credit]) -> Batch:
        """Lay the attempts out as rows."""
        return assemble(groups, credits, by_token=self.by_token)

    def _logprobs(self, part: Batch) -> tuple[Tensor, Tensor]:
        """Log-probability of what was sampled, with a gradient, and entropy there; both (B, T)."""
        model = cast(PreTrainedModel, self.model)
        rows = (part.token_ids_BT, part.mask_BT)
        return token_logprobs(model, *rows, self.temperature, part.group_B)

    def _micro_batches(self, batch: Batch) -> list[list[int]]:
        """Parts of a minibatch, packed where the model can take them so."""
        budget = self.optimization.token_budget
        return batch.micro_batches(budget, packed=is_plain(self.model))

    def _reference(self, part: Batch) -> Tensor:
        """Log-probability under the reference of what was sampled; nothing without a penalty."""
        if self.penalty is None:
            return torch.empty(0)
        rows = (part.token_ids_BT, part.mask_BT)
        return self.penalty.reference(*rows, self.temperature, part.group_B)

    def _optimize(self, batch: Batch, watch: Stopwatch) -> Metrics:
        count = min(self.optimization.minibatches, len(batch.mask_BT))
        parts = [range(part, len(batch.mask_BT), count) for part in range(count)]
        with precision.training(self.model, self.optimization.precision):
            batch, metrics = self._corrected(batch, watch)
            steps = [self._step(batch.rows(part), watch) for part in parts]
        names = dict.fromkeys(name for step in steps for name in step)
        means = {name: sum(step.get(name, 0.0) for step in steps) / count for name in names}
        return metrics | means

    def _corrected(self, batch: Batch, watch: Stopwatch) -> tuple[Batch, Metrics]:
        """The batch with what the objective's correction needs of the policy before the update."""
        correction = self.objective.correction
        if correction is None:
            return batch, {}
        with watch("proximal"), torch.no_grad():
            proximal_BT = torch.zeros_like(batch.behaviour_BT)
            for index in self._micro_batches(batch):
                logprobs_BT, _ = self._logprobs(batch.rows(index))
                proximal_BT[index, : logprobs_BT.shape[1]] = logprobs_BT.to(proximal_BT)
        compared = (proximal_BT, batch.behaviour_BT, batch.mask_BT)
        weights_BT = correction.weights(*compared)
        corrected = replace(batch, proximal_BT=proximal_BT, weights_BT=weights_BT)
        return corrected, mismatch_metrics(*compared, weights_BT)

    def _step(self, batch: Batch, watch: Stopwatch) -> Metrics:
        """One optimiser step on a minibatch, its gradient summed over micro-batches."""
        sums: Metrics = {}
        self.optimizer.zero_grad()  # what a step that failed has left
        tokens = float(batch.mask_BT.sum())
        for index in self._micro_batches(batch):
            with watch("logprobs"):
                loss, metrics = self._loss(batch, batch.rows(index), tokens)
            if not torch.isfinite(loss):
                raise TrainingError(f"the loss is {loss.item()} at optimiser step {self.steps}")
            with watch("backward"):
                loss.backward()  # type: ignore[no-untyped-call]
            for name, value in {**metrics, "loss": loss.detach()}.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        with watch("optimizer"):
            sums["grad_norm"] = self.apply_gradients()
        return sums

    def apply_gradients(self) -> float:
        """Clip, step and clear the gradients; return their norm before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), self.optimization.max_grad_norm
        )
        if not torch.isfinite(norm):
            raise TrainingError(f"the gradient norm is {norm} at optimiser step {self.steps}")
        ramp = min(1.0, (self.steps + 1) / max(1, self.optimization.warmup))
        self.optimizer.step(self.optimization.learning_rate * ramp)
        self.steps += 1
        return float(norm)

    def _loss(self, whole: Batch, part: Batch, tokens: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The share of one micro-batch in the minibatch's loss: a sum over tracks."""
        reference_BT = self._reference(part)  # before the graph of the policy is built
        logprobs_BT, entropy_BT = self._logprobs(part)
        device = logprobs_BT.device
        total = 0.0 * logprobs_BT.sum()  # has a gradient even where every track is switched off
        metrics = {"entropy": entropy_BT.sum() / tokens}
        if self.penalty is not None:
            loss, metrics["kl_reference"] = self.penalty.loss(
                logprobs_BT, reference_BT, part.mask_BT, self.objective.reduction,
                *self._shares(whole, part, whole.mask_BT),
            )
            total = total + loss
        for track, whole_track in zip(part.tracks, whole.tracks, strict=True):
            if not whole_track.mask_BT.any():
                continue
            totals, prompt_tokens_B = self._shares(whole, part, whole_track.mask_BT)
            old_BT = part.behaviour_BT if part.proximal_BT is None else part.proximal_BT
            loss, extra = policy_loss(
                logprobs_BT,
                old_BT.to(device),
                track.advantages_BT.to(device),
                track.mask_BT.to(device),
                objective=self.objective,
                totals=totals,
                weights_BT=None if part.weights_BT is None else part.weights_BT.to(device),
                turn_BT=part.turn_BT.to(device),
                prompt_tokens_B=prompt_tokens_B,
            )
            total = total + track.weight * loss
            metrics |= extra
        return total, metrics

    def _shares(self, whole: Batch, part: Batch, mask_BT: Tensor) -> tuple[Totals, Tensor]:
        """What a mask of the whole minibatch makes the denominators for some of its rows."""
        tokens_B = mask_BT.sum(dim=1)
        tokens_P = torch.zeros(int(whole.group_B.max()) + 1).index_add(0, whole.group_B, tokens_B)
        prompts = float((tokens_P > 0).sum())
        totals = Totals.of(mask_BT, length=self.objective.length, prompts=prompts)
        device = next(self.model.parameters()).device
        return totals, tokens_P[part.group_B].to(device)


def settled(device: torch.device) -> Callable[[], None]:
    """What waits for a device that works ahead of the program; a CPU does not."""
    return partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None


def _per_step(group: Group, credit: Credit) -> Credit:
    return tuple(
        replace(track, advantages_GS=by_step(track.advantages_GS, group.tokens_GS), mask_GS=None)
        for track in credit
    )


def _teaches(credit: Credit) -> bool:
    return any(advantages_S.any() for track in credit for advantages_S in track.advantages_GS)

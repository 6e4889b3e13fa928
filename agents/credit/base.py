"""What a credit estimator gets and gives: numpy arrays of one group, no tokens and no text.

Shape suffixes: G attempts at one task, S steps of one attempt (ragged, so ``_GS`` is a tuple of
G arrays of length S_g).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Ragged = tuple[FloatArray, ...]

SIGNALS: Mapping[str, str] = {
    "values": "critic: expected reward to come in the state in which the step was chosen",
    "greedy": "score of one greedy attempt at the same task, the same on every step",
    "tokens": "number of sampled tokens of the step",
    "information_gain": "how much more likely the step made the gold answer under the policy",
    "schema_reward": "score of the last proposed schema on the step that proposed it, else 0",
    "schema_phase": "1 on the steps up to and with the last proposed schema, else 0",
    "step_score": "process reward model: probability in [0, 1] that the step is right",
    "progress": "progress model: contribution of the step to the outcome",
    "grounding": "1 when the step's call could be executed, else 0",
    "prover_before": "chance that the prover succeeds from before the step",
    "prover_after": "chance that the prover succeeds from after the step",
}
"""The per-step signals that estimators ask for in ``learned_GS``, by name."""


@dataclass(frozen=True)
class GroupSignals:
    """The numeric view of all attempts at one task.

    outcome_G    final reward of each attempt, e.g. execution match in {0, 1}
    process_GS   process reward of each step, independent of the outcome
    states_GS    a key of the state each step was taken in (GiGPO's anchors); may be empty
    learned_GS   named per-step signals of learned models (values, progress, prover); may be empty
    trees_G      which tree of the group each attempt is a branch of (Tree-GRPO); may be empty

    Raises ValueError naming the attempt when there is no attempt, an attempt has no step,
    lengths differ, or a number is not finite.
    """

    outcome_G: FloatArray
    process_GS: Ragged
    states_GS: tuple[tuple[str, ...], ...] = ()
    learned_GS: Mapping[str, Ragged] = field(default_factory=dict)
    trees_G: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.process_GS) == 0:
            raise ValueError("a group needs at least one attempt, got none")
        if self.outcome_G.shape != (len(self.process_GS),):
            raise ValueError(
                f"expected one outcome per attempt, got {self.outcome_G.shape} "
                f"for {len(self.process_GS)} attempts"
            )
        given = {"states": self.states_GS, "trees": self.trees_G, **self.learned_GS}
        for name, rows in given.items():
            if rows and len(rows) != len(self.process_GS):
                raise ValueError(f"expected {name!r} of every attempt, got {len(rows)}")
        for attempt, process_S in enumerate(self.process_GS):
            self._check_attempt(attempt, process_S)

    def _check_attempt(self, attempt: int, process_S: FloatArray) -> None:
        if process_S.ndim != 1 or process_S.size == 0:
            raise ValueError(f"attempt {attempt}: expected at least one step, got none")
        if not (np.isfinite(self.outcome_G[attempt]) and np.isfinite(process_S).all()):
            raise ValueError(f"attempt {attempt}: rewards must be finite, got {process_S}")
        if self.states_GS and len(self.states_GS[attempt]) != process_S.size:
            raise ValueError(f"attempt {attempt}: expected one state key per step")
        for name, signal_GS in self.learned_GS.items():
            if signal_GS[attempt].shape != process_S.shape:
                raise ValueError(f"attempt {attempt}: expected one {name!r} value per step")
            if not np.isfinite(signal_GS[attempt]).all():
                raise ValueError(f"attempt {attempt}: {name!r} must be finite")

    def learned(self, name: str) -> Ragged:
        """Return one learned signal; a ValueError says which are there when it is missing."""
        if name not in self.learned_GS:
            there = ", ".join(sorted(self.learned_GS)) or "nothing"
            raise ValueError(
                f"the estimator needs the signal {name!r} ({SIGNALS.get(name, 'unknown')}); "
                f"learned_GS has {there}"
            )
        return self.learned_GS[name]

    @cached_property
    def steps_G(self) -> tuple[int, ...]:
        """Number of steps of each attempt."""
        return tuple([process_S.size for process_S in self.process_GS])


@dataclass(frozen=True)
class Track:
    """One stream of step advantages. Most estimators give one; Dual-Track gives two.

    `mask_GS` limits the track to some steps (None: all); `weight` scales its loss.
    """

    advantages_GS: Ragged
    mask_GS: tuple[npt.NDArray[np.bool_], ...] | None = None
    weight: float = 1.0


Credit = tuple[Track, ...]


class Estimator(Protocol):
    """A frozen dataclass of hyperparameters whose call is the algorithm."""

    def __call__(self, group: GroupSignals) -> Credit:
        """Return the credit of every step of every attempt of one group."""


@runtime_checkable
class BatchEstimator(Protocol):
    """An estimator that compares attempts across groups; its call takes a batch of one group."""

    def __call__(self, group: GroupSignals) -> Credit:
        """Return the credit of one group as if it were the whole batch."""

    def batch(self, groups: Sequence[GroupSignals]) -> list[Credit]:
        """Return the credit of each group of the batch."""


def assign(estimator: Estimator, groups: Sequence[GroupSignals]) -> list[Credit]:
    """Return the credit of each group of one batch; this is what a trainer calls."""
    if isinstance(estimator, BatchEstimator):
        return estimator.batch(groups)
    return [estimator(group) for group in groups]


def signals(
    outcomes: Sequence[float], process: Sequence[Sequence[float]], **more: Any
) -> GroupSignals:
    """Build a `GroupSignals` from plain lists: ``signals([1, 0], [[0.5, 1], [0]])``."""
    process_GS = tuple(np.asarray(steps, dtype=np.float64) for steps in process)
    return GroupSignals(np.asarray(outcomes, dtype=np.float64), process_GS, **more)

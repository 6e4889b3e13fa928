"""What a credit estimator gets and gives: numpy arrays of one group, no tokens and no text.

Shape suffixes: G attempts at one task, S steps of one attempt (ragged, so ``_GS`` is a tuple of
G arrays of length S_g).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Ragged = tuple[FloatArray, ...]


@dataclass(frozen=True)
class GroupSignals:
    """The numeric view of all attempts at one task.

    outcome_G    final reward of each attempt, e.g. execution match in {0, 1}
    process_GS   process reward of each step, independent of the outcome
    states_GS    a key of the state each step was taken in (GiGPO's anchors); may be empty
    learned_GS   named per-step signals of learned models (values, progress, prover); may be empty

    Raises ValueError naming the attempt when there is no attempt, an attempt has no step,
    lengths differ, or a number is not finite.
    """

    outcome_G: FloatArray
    process_GS: Ragged
    states_GS: tuple[tuple[str, ...], ...] = ()
    learned_GS: Mapping[str, Ragged] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.process_GS) == 0:
            raise ValueError("a group needs at least one attempt, got none")
        if self.outcome_G.shape != (len(self.process_GS),):
            raise ValueError(
                f"expected one outcome per attempt, got {self.outcome_G.shape} "
                f"for {len(self.process_GS)} attempts"
            )
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

    @property
    def steps_G(self) -> list[int]:
        """Number of steps of each attempt."""
        return [process_S.size for process_S in self.process_GS]


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


def signals(
    outcomes: Sequence[float], process: Sequence[Sequence[float]], **more: Any
) -> GroupSignals:
    """Build a `GroupSignals` from plain lists: ``signals([1, 0], [[0.5, 1], [0]])``."""
    process_GS = tuple(np.asarray(steps, dtype=np.float64) for steps in process)
    return GroupSignals(np.asarray(outcomes, dtype=np.float64), process_GS, **more)

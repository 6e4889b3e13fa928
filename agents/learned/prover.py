"""Monte-Carlo rollouts from the middle of attempts: PAV's prover, and labels for step scores."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np

from agents.credit.base import Ragged
from agents.credit.pav import pass_at_k
from agents.learned.base import Example


class Continuations(Protocol):
    """Takes attempts up in the middle and lets a policy finish them."""

    def successes(self, states: Sequence[Hashable], attempts: int, seed: int) -> Sequence[int]:
        """Finish `attempts` attempts from each state; return how many of them succeed.

        A state is what an `Example` has in `restore_GS`; no state is one after an end.
        """


@dataclass(frozen=True)
class Chances:
    """Chances of success around the steps of one group, estimated by rollouts.

    before_GS   before each step; equal states share their rollouts
    after_GS    after each step: that of the next state, and the outcome itself after the last
    rollouts    attempts that were finished for it
    """

    before_GS: Ragged
    after_GS: Ragged
    rollouts: int


def monte_carlo(
    example: Example, continuations: Continuations, *, attempts: int, best_of: int, seed: int
) -> Chances:
    """Estimate the chance that the best of `best_of` attempts succeeds, before and after steps.

    The estimate from c successes of n attempts is unbiased: 1 - C(n - c, k) / C(n, k). Outcomes
    of 1 and more are successes.

    Raises ValueError when the example has no states to go back to, or best_of exceeds attempts.
    """
    if not example.restore_GS:
        raise ValueError("rollouts need restore_GS, the states to start from")
    if not 1 <= best_of <= attempts:
        raise ValueError(f"expected attempts >= best_of >= 1, got {attempts} and {best_of}")
    states = list(dict.fromkeys(state for row in example.restore_GS for state in row))
    counts = continuations.successes(states, attempts, seed)
    chance = {
        state: pass_at_k(count, attempts, best_of)
        for state, count in zip(states, counts, strict=True)
    }
    before_GS = tuple(np.array([chance[state] for state in row]) for row in example.restore_GS)
    after_GS = tuple(
        np.append(before_S[1:], float(outcome >= 1.0))
        for before_S, outcome in zip(before_GS, example.signals.outcome_G, strict=True)
    )
    return Chances(before_GS, after_GS, attempts * len(states))


def labelled(
    examples: Sequence[Example], continuations: Continuations, *, attempts: int, seed: int
) -> list[Example]:
    """Return the examples with the chance of success after each step as its label."""
    return [
        replace(
            example,
            labels_GS=monte_carlo(
                example, continuations, attempts=attempts, best_of=1, seed=seed + place
            ).after_GS,
        )
        for place, example in enumerate(examples)
    ]


class Prover:
    """Gives "prover_before" and "prover_after": chances of the best of `best_of` attempts.

    The prover is the policy behind `continuations`, tried `best_of` times (4 in the paper's
    search; a stronger or weaker prover is another number or another policy). It learns nothing:
    `fit` has no effect. `attempts` rollouts per state (20 in the paper) give the estimate;
    `rollouts` counts those of all calls so far.

    Source: Setlur et al. 2024, arXiv:2410.08146.
    """

    gives: ClassVar[tuple[str, ...]] = ("prover_before", "prover_after")

    def __init__(
        self, continuations: Continuations, *, attempts: int = 8, best_of: int = 4, seed: int = 0
    ) -> None:
        self._continuations = continuations
        self.attempts, self.best_of = attempts, best_of
        self._seed = seed
        self.rollouts = 0

    def signals(self, examples: Sequence[Example]) -> list[Mapping[str, Ragged]]:
        """Roll out from before every step of every example."""
        found: list[Mapping[str, Ragged]] = []
        for example in examples:
            self._seed += 1
            chances = monte_carlo(
                example,
                self._continuations,
                attempts=self.attempts,
                best_of=self.best_of,
                seed=self._seed,
            )
            self.rollouts += chances.rollouts
            found.append({"prover_before": chances.before_GS, "prover_after": chances.after_GS})
        return found

    def fit(self, examples: Sequence[Example]) -> dict[str, float]:
        """Nothing to learn; the rollouts so far are what it costs."""
        return {"prover_rollouts": float(self.rollouts)}

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {"seed": self._seed, "rollouts": self.rollouts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._seed, self.rollouts = state["seed"], state["rollouts"]

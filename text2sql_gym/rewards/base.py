"""What a reward term is, and how terms become the scalar that `step` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from text2sql_gym.types import Transition


class Reward(Protocol):
    """One raw term: a pure function of one turn, with its range in the docstring."""

    def __call__(self, transition: Transition) -> float:
        """Return the term's value on this turn."""


@dataclass(frozen=True)
class RewardScheme:
    """Which terms are paid, and how they weigh.

    outcome        weights of the terms that judge the answer
    process        weights of the terms that judge single steps
    process_scale  share of the process sum in the scalar reward; small, so that the exploring of
                   an episode of fewer than ten turns is never worth a right answer. Estimators
                   read the two sums separately and do not see it.
    own            terms of the user's by name, beside those of `REWARDS`
    source         where the choice comes from, for the reader
    """

    outcome: Mapping[str, float]
    process: Mapping[str, float]
    process_scale: float = 0.1
    own: Mapping[str, Reward] = field(default_factory=dict)
    source: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Every term the scheme reads."""
        return tuple(dict.fromkeys([*self.outcome, *self.process]))

    def outcome_sum(self, terms: Mapping[str, float]) -> float:
        """The outcome reward of a step with these raw terms."""
        return sum((weight * terms[name] for name, weight in self.outcome.items()), 0.0)

    def process_sum(self, terms: Mapping[str, float]) -> float:
        """The process reward of a step with these raw terms."""
        return sum((weight * terms[name] for name, weight in self.process.items()), 0.0)

    def scalar(self, terms: Mapping[str, float]) -> float:
        """What `step` returns: outcome plus `process_scale` times process."""
        return self.outcome_sum(terms) + self.process_scale * self.process_sum(terms)

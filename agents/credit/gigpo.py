"""GiGPO: steps taken in the same state are compared with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, FloatArray, GroupSignals, Track
from agents.credit.ragged import episode_scores, returns, split, spread, step_rewards
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import (
    IntArray,
    Scale,
    Singleton,
    standardize,
    standardize_within,
)


@dataclass(frozen=True)
class Gigpo:
    """Credit an attempt by its score and a step by its return among steps from the same state.

        r_it = process_weight * process_it, plus outcome_i on the last step
        R_it = r_it + gamma R_i,t+1
        A_it = Z_group(sum_t r_it) + omega * Z_state(R_it)

    Z_state compares R_it with the returns of all steps of the group that were taken in the same
    state (`states_GS`), also of the same attempt. `similarity` in (0, 1) lets a state join the
    first earlier one whose text is at least that similar (difflib ratio); None asks for equality.

    Units: standard deviations (`scale` "none": units of the reward).

    Degenerate groups: equal scores have no episode term and a state met once, or with equal
    returns, no step term. A single attempt has no episode term, or its raw score with
    ``singleton="raw"`` (verl-agent).

    Our choice: episode statistics count attempts, as the paper's equation 3 does; `count_steps`
    counts steps, so long attempts weigh more, which is the default of verl-agent's code. gamma and
    the deviation are those of its script for ALFWorld (its configuration: 1, and none).
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "states")
    granularity: ClassVar[str] = "step"
    source: ClassVar[str] = "Feng et al. 2025, arXiv:2505.10978"

    gamma: float = 0.95
    omega: float = 1.0
    process_weight: float = 0.0
    similarity: float | None = None
    count_steps: bool = False
    scale: Scale = "unbiased"
    singleton: Singleton = "zero"
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_choice(self, "scale", Scale)
        check_choice(self, "singleton", Singleton)
        check_range(self, 0.0, 1.0, "gamma")
        check_range(self, 0.0, np.inf, "epsilon")
        if self.similarity is not None:
            check_range(self, 0.0, 1.0, "similarity")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equations."""
        credit_N = self.episode_term(group) + self.omega * self.step_term(group)
        return (Track(split(credit_N, group)),)

    def episode_term(self, group: GroupSignals) -> FloatArray:
        """Z_group of the attempts' scores, flat over steps."""
        scores_G = episode_scores(group, self.process_weight)
        rows = sum(group.steps_G) if self.count_steps else scores_G.size
        if rows == 1 and self.singleton == "raw":
            return spread(scores_G, group)
        if self.count_steps:
            return standardize(spread(scores_G, group), self.scale, self.epsilon)
        return spread(standardize(scores_G, self.scale, self.epsilon), group)

    def step_term(self, group: GroupSignals) -> FloatArray:
        """Z_state of the steps' returns, flat over steps."""
        returns_N = returns(step_rewards(group, self.process_weight), group, self.gamma)
        anchor_N = anchors(self._states(group), self.similarity)
        return standardize_within(returns_N, anchor_N, self.scale, self.epsilon)

    def _states(self, group: GroupSignals) -> list[str]:
        if not group.states_GS:
            raise ValueError("Gigpo needs states_GS, a key of the state each step was taken in")
        return [state for states_S in group.states_GS for state in states_S]


def anchors(states_N: Sequence[str], similarity: float | None = None) -> IntArray:
    """Number the states: equal, or similar enough to the first of a cluster, is the same number.

    The similar form compares with every cluster found so far, in order, and joins the first that
    fits, so it depends on the order of the states and costs far more than the exact one.
    """
    if similarity is None:
        number: dict[str, int] = {}
        return np.array([number.setdefault(state, len(number)) for state in states_N])
    first: list[str] = []
    return np.array([_join(state, first, similarity) for state in states_N])


def _join(state: str, first: list[str], similarity: float) -> int:
    for cluster, other in enumerate(first):
        if SequenceMatcher(None, state, other).ratio() >= similarity:
            return cluster
    first.append(state)
    return len(first) - 1

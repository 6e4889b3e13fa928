"""Tiny decision problems in which the right credit of every step is known in closed form.

A problem is a graph without cycles. In each state the policy picks a move; a move leads to another
state or ends the attempt with a chance of success. Values follow by recursion:

    Q(s, a) = chance of success when a ends the attempt, else V(next)
    V(s)    = sum_a pi(a | s) Q(s, a)
    A(s, a) = Q(s, a) - V(s)          the right credit of taking a in s
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from agents.credit import GroupSignals
from agents.credit.base import FloatArray

END = ""

Policy = Mapping[str, Mapping[str, float]]
"""What the policy sees -> move -> probability."""

Visit = tuple[str, str]
"""A state and the move taken in it."""


@dataclass(frozen=True)
class Move:
    """Where a move leads. `success` counts when it ends the attempt (`to` is END).

    process   what a process reward pays for it
    runs      whether its call could be executed
    """

    to: str = END
    success: float = 0.0
    process: float = 0.0
    runs: bool = True


@dataclass(frozen=True)
class Probe:
    """A decision problem. `looks` gives states another appearance: what policy and anchors see.

    Raises ValueError when a move leads to a state that is not there, or two states that look
    alike offer different moves.
    """

    story: str
    lesson: str
    states: Mapping[str, Mapping[str, Move]]
    looks: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        offered: dict[str, set[str]] = {}
        for state, moves in self.states.items():
            if set(moves) != offered.setdefault(self.seen(state), set(moves)):
                raise ValueError(f"{state}: looks like a state with other moves")
            for name, move in moves.items():
                if move.to != END and move.to not in self.states:
                    raise ValueError(f"{state}/{name}: leads to {move.to!r}, which is not there")

    @property
    def start(self) -> str:
        """The first state listed."""
        return next(iter(self.states))

    @cached_property
    def visits(self) -> tuple[Visit, ...]:
        """Every state with each of its moves."""
        return tuple((state, name) for state, moves in self.states.items() for name in moves)

    def seen(self, state: str) -> str:
        """What a state looks like."""
        return self.looks.get(state, state)

    def uniform(self) -> dict[str, dict[str, float]]:
        """The policy that takes every move with the same probability."""
        return {
            self.seen(state): dict.fromkeys(moves, 1 / len(moves))
            for state, moves in self.states.items()
        }

    def q(self, visit: Visit, policy: Policy) -> float:
        """Chance of success after a move."""
        state, name = visit
        move = self.states[state][name]
        return move.success if move.to == END else self.value(move.to, policy)

    def value(self, state: str, policy: Policy) -> float:
        """Chance of success from a state."""
        chances = policy[self.seen(state)]
        return sum(chances[name] * self.q((state, name), policy) for name in self.states[state])

    def advantage(self, visit: Visit, policy: Policy) -> float:
        """The right credit of a move: what it changed about the chance of success."""
        return self.q(visit, policy) - self.value(visit[0], policy)

    def length(self, state: str, policy: Policy) -> float:
        """Expected number of steps from a state to the end."""
        chances = policy[self.seen(state)]
        rest = {name: move.to for name, move in self.states[state].items() if move.to != END}
        return 1.0 + sum(chances[name] * self.length(to, policy) for name, to in rest.items())


@dataclass(frozen=True)
class Attempt:
    """One walk through a problem."""

    visits: tuple[Visit, ...]
    success: float


def walk(probe: Probe, policy: Policy, draws: np.random.Generator) -> Attempt:
    """Follow the policy from the start to an end, and draw the outcome there."""
    state, visits = probe.start, []
    while True:
        chances = policy[probe.seen(state)]
        name = _draw(chances, draws.random())
        move = probe.states[state][name]
        visits.append((state, name))
        if move.to == END:
            return Attempt(tuple(visits), float(draws.random() < move.success))
        state = move.to


def _draw(chances: Mapping[str, float], number: float) -> str:
    """The move whose share of [0, 1) holds the number."""
    for name, chance in chances.items():
        number -= chance
        if number < 0:
            break
    return name


BEST_OF = 4
"""attempts of the prover whose best counts, as in PAV's experiments"""


def group_of(probe: Probe, attempts: Sequence[Attempt], policy: Policy) -> GroupSignals:
    """The group as estimators see it, with learned signals as a perfect model would give them."""
    each = [exact_signals(probe, attempt, policy) for attempt in attempts]
    return GroupSignals(
        outcome_G=np.array([attempt.success for attempt in attempts]),
        process_GS=tuple(
            np.array([probe.states[s][name].process for s, name in attempt.visits])
            for attempt in attempts
        ),
        states_GS=tuple(tuple(probe.seen(s) for s, _ in attempt.visits) for attempt in attempts),
        learned_GS={name: tuple(of[name] for of in each) for name in each[0]},
    )


def exact_signals(probe: Probe, attempt: Attempt, policy: Policy) -> dict[str, FloatArray]:
    """Every learned signal of one attempt, exact for `policy`.

    values and prover follow by recursion (prover: best of four attempts of the policy). Progress
    is what each move changed, with the value of the start on the first step and the luck of the
    end on the last, so that it sums to the outcome; the information gain leaves these two out.
    The step score is the chance of success after the move. The schema phase is the first step;
    its reward is 1 when no chance was lost on it. The greedy attempt takes the first move listed.
    """
    value_S = np.array([probe.value(state, policy) for state, _ in attempt.visits])
    after_S = np.array([probe.q(visit, policy) for visit in attempt.visits])
    progress_S = after_S - value_S
    progress_S[0] += value_S[0]
    progress_S[-1] += attempt.success - after_S[-1]
    first_S = np.arange(value_S.size) == 0
    runs = [probe.states[state][name].runs for state, name in attempt.visits]
    return {
        "values": value_S,
        "greedy": np.full(value_S.size, probe.value(probe.start, _first_moves(probe))),
        "tokens": np.full(value_S.size, 10.0),
        "information_gain": after_S - value_S,
        "schema_reward": first_S * (after_S >= value_S),
        "schema_phase": first_S.astype(np.float64),
        "step_score": after_S,
        "progress": progress_S,
        "grounding": np.array(runs, dtype=np.float64),
        "prover_before": 1 - (1 - value_S) ** BEST_OF,
        "prover_after": 1 - (1 - after_S) ** BEST_OF,
    }


def _first_moves(probe: Probe) -> Policy:
    return {
        probe.seen(state): {name: float(place == 0) for place, name in enumerate(moves)}
        for state, moves in probe.states.items()
    }

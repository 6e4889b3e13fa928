"""The records of a rollout, from one sampled turn to a group of attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial

import numpy as np
import numpy.typing as npt

from agents.credit.base import GroupSignals, Ragged
from agents.credit.tokens import by_token


IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Completion:
    """One turn as it was sampled: these very token ids are what is trained.

    `logprobs` are the sampler's own, one per token, at its temperature. `stopped` is False when
    the turn ran into the token limit before its end token. `version` counts the updates of the
    weights that sampled it.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    stopped: bool = True
    version: int = 0


class Ended(StrEnum):
    """Why an attempt ended."""

    SUBMITTED = "submitted"
    STEP_LIMIT = "step_limit"  # the environment's turns ran out
    TOKEN_LIMIT = "token_limit"  # a turn or the context ran out of tokens


@dataclass(frozen=True)
class Step:
    """One turn: the tokens that were new to the policy, what it sampled, and what that earned.

    `context_ids` is the prompt on the first step, the rendered observation on later ones; the
    concatenation over the steps is the token sequence of the attempt. `arguments` are those of
    the call, as {"sql": ...}; none when the turn was malformed. `shown` and `answer` are the
    digests of `agents.digests`: equal when two calls showed the same, and when two submissions
    have the same result. `state_key` names the state the turn was taken in, equal for equal
    states, "" where nobody says; `before` is the environment's own (``info["state"]``), which it
    can be put back into. `signals` are numbers for estimators, by their names in
    `agents.credit.base.SIGNALS`; `token_signals` the same with a number per sampled token.
    """

    context_ids: tuple[int, ...]
    completion: Completion
    observation: str
    outcome_reward: float
    process_reward: float
    reward_terms: Mapping[str, float]
    call_outcome: str
    tool: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    shown: str = ""
    answer: str = ""
    state_key: str = ""
    signals: Mapping[str, float] = field(default_factory=dict)
    before: str = ""
    token_signals: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trajectory:
    """One attempt at one task. `outcome` is the environment's `EpisodeOutcome`."""

    task_id: str
    difficulty: str
    steps: tuple[Step, ...]
    ended: Ended
    outcome: str

    @property
    def outcome_reward(self) -> float:
        """Outcome rewards summed over the steps."""
        return sum(step.outcome_reward for step in self.steps)

    @property
    def tokens(self) -> int:
        """Tokens of its row: prompt, turns, and the observations between them."""
        return sum(len(step.context_ids) + len(step.completion.token_ids) for step in self.steps)


@dataclass(frozen=True)
class Group:
    """All attempts at one task that are compared with each other.

    `trees` says which tree each attempt is a branch of; empty where every attempt is its own.
    """

    task_id: str
    attempts: tuple[Trajectory, ...]
    trees: tuple[str, ...] = ()

    def signals(self) -> GroupSignals:
        """The numpy view that estimators read.

        States, and each named signal, are there when every step has them; the number of sampled
        tokens always is.
        """
        steps_GS = [attempt.steps for attempt in self.attempts]
        steps = [step for steps_S in steps_GS for step in steps_S]
        first = steps[0].signals if steps else ()
        named = [name for name in first if all(name in step.signals for step in steps)]
        states_GS = tuple(tuple(step.state_key for step in steps_S) for steps_S in steps_GS)
        return GroupSignals(
            outcome_G=np.array([attempt.outcome_reward for attempt in self.attempts]),
            process_GS=_ragged(steps_GS, lambda step: step.process_reward),
            states_GS=states_GS if all(step.state_key for step in steps) else (),
            learned_GS={
                "tokens": _ragged(steps_GS, lambda step: float(len(step.completion.token_ids))),
                **{name: _ragged(steps_GS, partial(_signal, name)) for name in named},
            },
            trees_G=self.trees,
        )

    def token_signals(self) -> GroupSignals:
        """The same with every sampled token as a step: see `by_token`."""
        signals = self.signals()
        steps = [step for attempt in self.attempts for step in attempt.steps]
        names = [name for name in steps[0].token_signals] if steps else []
        per_token = {
            name: tuple(
                np.array([x for step in attempt.steps for x in step.token_signals[name]])
                for attempt in self.attempts
            )
            for name in names
        }
        return by_token(signals, self.tokens_GS, **per_token)

    @property
    def tokens_GS(self) -> tuple[IntArray, ...]:
        """Number of sampled tokens of every step."""
        return tuple(
            np.array([len(step.completion.token_ids) for step in attempt.steps])
            for attempt in self.attempts
        )

    def with_signals(self, learned: Mapping[str, Ragged]) -> Group:
        """The group with more named signals, one number per step."""
        return self._with(
            lambda step, number, place: replace(step, signals={
                **step.signals,
                **{name: float(rows[number][place]) for name, rows in learned.items()},
            })
        )

    def with_token_signals(self, learned: Mapping[str, Ragged]) -> Group:
        """The group with named signals, one number per sampled token of an attempt."""
        ends_GS = [np.cumsum(tokens_S) for tokens_S in self.tokens_GS]
        split = {
            name: [np.split(row_T, e[:-1]) for row_T, e in zip(rows, ends_GS, strict=True)]
            for name, rows in learned.items()
        }
        return self._with(
            lambda step, number, place: replace(step, token_signals={
                name: tuple(rows[number][place].tolist()) for name, rows in split.items()
            })
        )

    def _with(self, change: Callable[[Step, int, int], Step]) -> Group:
        """The group with every step changed; `change` gets its attempt's number and its place."""
        attempts = tuple(
            replace(attempt, steps=tuple(
                change(step, number, place) for place, step in enumerate(attempt.steps)
            ))
            for number, attempt in enumerate(self.attempts)
        )
        return replace(self, attempts=attempts)


def _signal(name: str, step: Step) -> float:
    return step.signals[name]


def _ragged(steps_GS: Sequence[Sequence[Step]], number: Callable[[Step], float]) -> Ragged:
    """One number of each step, as arrays per attempt."""
    return tuple(np.array([number(step) for step in steps_S]) for steps_S in steps_GS)

"""Collect groups of attempts: many episodes at once, each advancing at its own pace."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agents.chat import Chat
from agents.digests import answer_digest, shown_digest, state_digest
from agents.policies.base import Policy
from agents.stopwatch import Stopwatch
from agents.types import Completion, Ended, Group, Step, Trajectory
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.turns import Answer, Turns
from text2sql_gym.types import EXECUTED

SIGNALS = frozenset({"outcome", "process", "tokens", "states", "grounding"})
"""What every rollout of a language model can tell estimators of, by the names in their `needs`."""


@dataclass(frozen=True)
class Place:
    """Where in an episode to go on: a state of the environment, and all tokens up to it."""

    state: str
    token_ids: tuple[int, ...]


def histories(attempt: Trajectory) -> tuple[tuple[int, ...], ...]:
    """All tokens before every turn of an attempt."""
    found: list[tuple[int, ...]] = []
    ids: tuple[int, ...] = ()
    for step in attempt.steps:
        found.append((*ids, *step.context_ids))
        ids = (*found[-1], *step.completion.token_ids)
    return tuple(found)


def places_of(attempt: Trajectory) -> tuple[Place, ...]:
    """The place before every turn of an attempt.

    Raises ValueError for an attempt of which nobody kept the states of the environment.
    """
    if not all(step.before for step in attempt.steps):
        raise ValueError("the attempt has no states to go back to")
    pairs = zip(attempt.steps, histories(attempt), strict=True)
    return tuple(Place(step.before, ids) for step, ids in pairs)


@dataclass
class _Attempt:
    """One episode under way."""

    group: int
    env: Text2SQLEnv
    context_ids: tuple[int, ...]
    info: dict[str, Any]
    steps: list[Step] = field(default_factory=list)


class Collector:
    """Runs episodes with a policy; owns one environment per episode in flight.

    Turns that are complete are stepped and extended while the other episodes go on generating, so
    none waits for another; of turns that are complete at once, the statements run side by side. The
    result depends on `seed` and the policy, not on the order in which episodes or statements end:
    the policy gets the answers in the order in which it gave the turns. With `overlap` it goes on
    generating while statements run, and gets each answer when it is there; of which episodes a
    batch is made then depends on the clock, and by rounding so may what is sampled.

    `watch` sums the seconds spent in generation (the policy), sql (the environment: prompts,
    statements, judging) and encode (texts to tokens); who wants those of some calls puts a new one
    there before them.
    """

    def __init__(
        self,
        make_env: Callable[[], Text2SQLEnv],
        chat: Chat,
        *,
        rows: int,
        overlap: bool = False,
    ) -> None:
        self._chat = chat
        self._rows, self._overlap = rows, overlap
        self._make_env = make_env
        self._envs: list[Text2SQLEnv] = []
        self._idle: list[Text2SQLEnv] = []
        self._turns = Turns()
        self.watch = Stopwatch()

    def close(self) -> None:
        """Close the environments, also those of episodes that an error left unfinished."""
        self._turns.drop()
        for env in self._envs:
            env.close()
        self._envs, self._idle = [], []

    def collect(
        self,
        policy: Policy,
        task_ids: Sequence[str],
        group_size: int,
        seed: int,
        on_done: Callable[[], None] = lambda: None,
    ) -> list[Group]:
        """Return one group of `group_size` attempts per task, in the order of `task_ids`.

        `on_done` is called after every episode. Raises ValueError when a prompt does not fit the
        policy's context, or a group does not fit its rows. A fault of an environment is raised when
        the turns beside it are through; all attempts are dropped, and another call begins anew.
        """
        ended = self._play(policy, task_ids, group_size, seed, on_done)
        return [Group(name, found) for name, found in zip(task_ids, ended, strict=True)]

    def go_on(
        self,
        policy: Policy,
        places: Sequence[Place],
        group_size: int,
        seed: int,
        on_done: Callable[[], None] = lambda: None,
    ) -> list[tuple[Trajectory, ...]]:
        """Finish `group_size` attempts from each place; their steps are those from there on.

        `on_done` is called after every one. Raises like `collect`, and `StateError` when the
        environment cannot be put back.
        """
        return self._play(policy, places, group_size, seed, on_done)

    def _play(
        self,
        policy: Policy,
        starts: Sequence[str | Place],
        group_size: int,
        seed: int,
        on_done: Callable[[], None],
    ) -> list[tuple[Trajectory, ...]]:
        """Attempts from the beginning of a task, by its id, or from a place."""
        if group_size > self._rows:
            raise ValueError(f"group_size {group_size} exceeds the policy's {self._rows} rows")
        self._turns.drop()  # what an error left under way
        self._idle = list(self._envs)
        awaited: dict[int, Completion] = {}
        waiting = deque(enumerate(starts))
        running: dict[int, _Attempt] = {}
        ended: dict[int, list[tuple[int, Trajectory]]] = {}
        while waiting or running:
            while waiting and len(running) + group_size <= self._rows:
                running |= self._open(policy, *waiting.popleft(), group_size, seed)
            with self.watch("generation"):
                turns = policy.advance()
            awaited |= turns
            with self.watch("sql"):
                answers = self._answers(running, turns)
            for handle in [h for h, turn in awaited.items() if h in answers or not turn.token_ids]:
                completion, answer = awaited.pop(handle), answers.get(handle)
                trajectory = self._turn(policy, handle, running[handle], completion, answer)
                if trajectory is not None:
                    attempt = running.pop(handle)
                    self._idle.append(attempt.env)
                    ended.setdefault(attempt.group, []).append((handle, trajectory))
                    on_done()
        return [_in_order(ended[number]) for number in range(len(starts))]

    def _open(
        self, policy: Policy, number: int, start: str | Place, group_size: int, seed: int
    ) -> dict[int, _Attempt]:
        options = {"task_id": start} if isinstance(start, str) else {"state": start.state}
        attempts = []
        for _ in range(group_size):
            env = self._idle.pop() if self._idle else self._new_env()
            with self.watch("sql"):
                _, info = env.reset(options=options)
            attempts.append(_Attempt(number, env, (), info))
        prompt_ids = self._prompt(attempts[0].info) if isinstance(start, str) else start.token_ids
        seeds = [(seed << 24) + number * group_size + member for member in range(group_size)]
        handles = policy.open(prompt_ids, seeds)
        for attempt in attempts:
            attempt.context_ids = prompt_ids
        return dict(zip(handles, attempts, strict=True))

    def _prompt(self, info: dict[str, Any]) -> tuple[int, ...]:
        with self.watch("encode"):
            return self._chat.prompt_ids(info["messages"], info["tool_schemas"])

    def _new_env(self) -> Text2SQLEnv:
        self._envs.append(self._make_env())
        return self._envs[-1]

    def _answers(
        self, running: Mapping[int, _Attempt], turns: Sequence[tuple[int, Completion]]
    ) -> dict[int, Answer]:
        """Step the environments of these turns; a completion without tokens is no turn.

        Returns the answers of all turns that are under way, or with `overlap` of those that are
        over: of at least one, if there are any, when the policy has nothing to do.
        """
        for handle, completion in turns:
            if completion.token_ids:
                self._turns.step(handle, running[handle].env, completion.text)
        if not self._overlap:
            return self._turns.finish()
        over = self._turns.take(wait=not turns)
        answers = {handle: answer for handle, answer in over if isinstance(answer, Answer)}
        if len(answers) < len(over):  # a fault: the others are let through before it is raised
            self._turns.put_back(over)
            return self._turns.finish()
        return answers

    def _turn(
        self,
        policy: Policy,
        handle: int,
        attempt: _Attempt,
        completion: Completion,
        answer: Answer | None,
    ) -> Trajectory | None:
        """Record one sampled turn and its answer; return the attempt if that ended it."""
        if answer is None:  # the observation filled the context: there was no turn
            policy.close(handle)
            return _trajectory(attempt, Ended.TOKEN_LIMIT)
        info, env = answer.info, attempt.env
        step = record_step(attempt.context_ids, completion, answer.observation, info, env)
        attempt.steps.append(replace(step, before=attempt.info["state"]))
        attempt.info = info
        ended = how_it_ended(answer.terminated, answer.truncated, completion.stopped)
        if ended is not None:
            policy.close(handle)
            return _trajectory(attempt, ended)
        with self.watch("encode"):
            attempt.context_ids = self._chat.message_ids(info["messages"][0])
        policy.extend(handle, attempt.context_ids)
        return None


def record_step(
    context_ids: tuple[int, ...],
    completion: Completion,
    observation: str,
    info: dict[str, Any],
    env: Text2SQLEnv,
) -> Step:
    """Put one turn and the answer of `env`, which has just taken it, into a `Step`."""
    terms, scheme, turn = info["reward_terms"], env.scheme, env.last_turn
    return Step(
        context_ids=context_ids,
        completion=completion,
        observation=observation,
        outcome_reward=scheme.outcome_sum(terms),
        process_reward=scheme.process_sum(terms),
        reward_terms=terms,
        call_outcome=info["call_outcome"],
        tool=info["tool"],
        arguments=turn.call.arguments if turn.call else {},
        shown=shown_digest(turn),
        answer=answer_digest(turn),
        state_key=state_digest(context_ids),
        signals={"grounding": float(info["call_outcome"] in EXECUTED)},
    )


def how_it_ended(terminated: bool, truncated: bool, stopped: bool) -> Ended | None:
    """Why an attempt is over after a turn; None when it goes on."""
    if terminated:
        return Ended.SUBMITTED
    if truncated:
        return Ended.STEP_LIMIT
    return None if stopped else Ended.TOKEN_LIMIT


def _trajectory(attempt: _Attempt, ended: Ended) -> Trajectory:
    info = attempt.info
    return Trajectory(
        info["task_id"], info["difficulty"], tuple(attempt.steps), ended, info["outcome"]
    )


def _in_order(ended: list[tuple[int, Trajectory]]) -> tuple[Trajectory, ...]:
    """Attempts in the order in which they were opened."""
    return tuple(trajectory for _, trajectory in sorted(ended, key=lambda e: e[0]))

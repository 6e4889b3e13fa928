"""`Text2SQLEnv`: one question over one database, answered by acting."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import gymnasium as gym

from text2sql_gym.backends import open_backend
from text2sql_gym.backends.base import Backend
from text2sql_gym.backends.beside import Answers, Beside
from text2sql_gym.datasets import load_tasks
from text2sql_gym.episode import Episode, prompt_text
from text2sql_gym.errors import GoldError, StateError, ToolError, UnknownName
from text2sql_gym.golds import gold_results
from text2sql_gym.judging import judge, nothing_paid, paid
from text2sql_gym.matching import Gold, Matcher
from text2sql_gym.protocols import AgentProtocol, Message
from text2sql_gym.registry import lookup
from text2sql_gym.resolve import limits_of, matcher_of, protocol_of, scheme_of, tasks_by_id
from text2sql_gym.rewards import REWARDS, RewardScheme
from text2sql_gym.spaces import Unicode
from text2sql_gym.state import RecordedTurn, Trail, fingerprint, read_state
from text2sql_gym.tools import TOOLS
from text2sql_gym.tools.base import failed
from text2sql_gym.types import (
    CallOutcome,
    EpisodeOutcome,
    Limits,
    Schema,
    Task,
    ToolCall,
    ToolResult,
    Transition,
    Turn,
)

T = TypeVar("T")

_LONGEST = 1_000_000
"""characters of an action or an observation"""

_SETTINGS = ("protocol", "matcher", "reward scheme", "max_turns", "limits")
"""what two environments must have in common, besides the task, to share a state"""

_OPEN_DATABASES = 32
"""databases kept open by one environment; those of one process share connections"""


class Text2SQLEnv(gym.Env[str, str]):
    """Answer a question over a database by exploring it and submitting one SQL query.

    ## Description
    An episode is one task: a question over a real database. Each turn the agent writes text in
    the language of a *protocol*; the environment runs the tool call in it and answers with text.
    A submission ends the episode.

    ## Action Space
    `Unicode`: one turn of text. What counts as a call is the protocol's business; a turn that is
    no call is answered with what was expected and costs a turn.

    ## Observation Space
    `Unicode`: after `reset` the prompt (schema and question), after `step` the tool's answer.

    ## Starting State
    `reset(seed=...)` draws a task reproducibly; `reset(options={"task_id": ...})` picks one, and
    all attempts of a GRPO group reset to the same one. `reset(options={"state": ...})` puts the
    environment into the state of any earlier `info["state"]`, of this or another instance with the
    same settings: it answers what was answered then, and goes on as it went on then.

    ## Rewards
    The weighted sum of the terms of a `RewardScheme`: the outcome terms plus `process_scale`
    times the process terms. The default scheme "finestep" pays 1 for an execution match, and
    0.1 times (-1 for a broken hard constraint, else the cell recall of the step's result).

    ## Episode End
    `terminated` on a submission; `truncated` when `max_turns` pass without one.

    ## Information
    The same keys after `reset` and every `step`, never a clock value, a path or the gold:
    `task_id`, `database_id`, `question`, `evidence`, `difficulty` (str); `tool` (the tool called,
    "" if none); `call_outcome` (a `CallOutcome`, "" after `reset`); `error` (str, "" if none);
    `outcome` (an `EpisodeOutcome`); `reward_terms` (raw value of every term, by name); `turn`,
    `remaining_turns` (int); `messages` (the chat messages that are new to the agent);
    `tool_schemas` (JSON schemas of the tools for a chat template; empty where the prompt has them);
    `state` (str, opaque: what `reset` takes; as long as the actions so far).

    ## Arguments
    - `dataset`, `data_dir`, `split`, `dataset_options`: which tasks, see `DATASETS`.
    - `tasks`: tasks given instead, as `Task` records or dicts with its fields as keys; a task
      without gold is never rewarded as right and ends as "no_gold".
    - `protocol`, `protocol_options`: a name in `PROTOCOLS` with its fields, or a protocol object.
    - `matcher`: a name in `MATCHERS`, or a matcher object.
    - `rewards`: a name in `SCHEMES`, a dict with the fields of `RewardScheme`, or a scheme; see
      `docs/rewards.md`.
    - `max_turns`: turns of an episode, the submission included.
    - `limits`: a `Limits`, or a dict with some of its fields.
    - `gold_errors`: what a task does whose gold query fails. "raise": `reset` raises `GoldError`.
      "report": the episode runs, its `outcome` is "gold_error" from the reset on, and its rewards
      and reward terms are NaN, so that they are neither paid nor averaged unnoticed.
    - `render_mode`: `None` or "ansi" (the transcript with rewards).

    ## Version History
    - v0: first release.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}

    def __init__(
        self,
        dataset: str = "synthetic",
        data_dir: str | Path | None = None,
        split: str = "train",
        dataset_options: Mapping[str, Any] | None = None,
        tasks: Sequence[Task | Mapping[str, Any]] | None = None,
        protocol: str | AgentProtocol = "finestep",
        protocol_options: Mapping[str, Any] | None = None,
        matcher: str | Matcher = "strict",
        rewards: str | Mapping[str, Any] | RewardScheme = "finestep",
        max_turns: int = 7,
        limits: Limits | Mapping[str, Any] | None = None,
        gold_errors: str = "raise",
        render_mode: str | None = None,
    ) -> None:
        if max_turns < 1:
            raise ValueError(f"max_turns must be at least 1, got {max_turns}")
        if gold_errors not in ("raise", "report"):
            raise ValueError(f"gold_errors: expected 'raise' or 'report', got {gold_errors!r}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode: expected None or 'ansi', got {render_mode!r}")
        if tasks is None:
            tasks = load_tasks(dataset, data_dir, split, **(dataset_options or {}))
        self._by_id = tasks_by_id(tasks)
        self.tasks = tuple(self._by_id.values())
        self.protocol = protocol_of(protocol, protocol_options)
        self.matcher = matcher_of(matcher)
        self.scheme = scheme_of(rewards)
        terms = {**REWARDS, **self.scheme.own}
        self._rewards = {name: lookup(terms, name, "reward") for name in self.scheme.names}
        self.max_turns = max_turns
        self.gold_errors = gold_errors
        self.limits = limits_of(limits)
        self.render_mode = render_mode
        self.action_space = Unicode(_LONGEST)
        self.observation_space = Unicode(_LONGEST)
        parts = (self.protocol, self.matcher, self.scheme, max_turns, self.limits)
        self._settings = dict(zip(_SETTINGS, map(fingerprint, parts), strict=True))
        self._backends: OrderedDict[str, Backend] = OrderedDict()
        self._episode: Episode | None = None
        self._answers: Answers | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode: the task ``options["task_id"]``, or one drawn at random.

        With ``options["state"]``, an ``info["state"]`` of before, put the environment into that
        state instead and return what was returned with it: the observation and the same info. A
        state after the end of an episode is no exception. The turns of the state are taken again,
        which costs what its statements cost; those that failed are not run. The generator that
        draws tasks is no part of the state.

        Raises `EnvironmentFault` when the database cannot be opened or a gold query fails
        (`GoldError`), `UnknownName` for a task id that does not exist, and `StateError` for a
        state of other tasks or settings, or one whose turns do not have the same answers again
        because the database has changed or a statement ran into the wall clock. The episode
        under way goes on after an error.
        """
        super().reset(seed=seed)
        given = options or {}
        if set(given) - {"task_id", "state"} or len(given) > 1:
            raise ValueError(f"options: expected only 'task_id' or 'state', got {sorted(given)}")
        if "state" in given:
            self._episode, observation, info = self._restored(given["state"])
        else:
            drawn = None if "task_id" in given else self.draw()
            task = drawn or lookup(self._by_id, given["task_id"], "task")
            self._episode, observation, info = self._begun(task)
        return observation, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take one turn.

        Returns the tool's answer, the weighted step reward, whether a submission ended the
        episode, whether the turns ran out, and the info. The policy's mistakes are answered in
        the observation. Raises `EnvironmentFault` when the environment is at fault, and
        `gymnasium.error.ResetNeeded` without a running episode.
        """
        if self._episode is None or not self.running:
            raise gym.error.ResetNeeded("no episode is running: call reset() before step()")
        self._episode, answer, info = self._taken(self._episode, RecordedTurn(action))
        after = self._episode
        return answer, after.rewards[-1], after.terminated, after.truncated, info

    @property
    def task(self) -> Task:
        """The task of the current episode, gold included; not for the policy's eyes."""
        if self._episode is None:
            raise gym.error.ResetNeeded("no episode yet: call reset() first")
        return self._episode.task

    @property
    def running(self) -> bool:
        """Whether a turn may be taken: there was a reset, and no end since."""
        return self._episode is not None and not self._episode.ended

    @property
    def ended(self) -> bool:
        """Whether the current episode is over; False before the first reset."""
        return self._episode is not None and self._episode.ended

    @property
    def messages(self) -> tuple[Message, ...]:
        """The whole conversation of the current episode, the agent's own turns included."""
        return deepcopy(self._episode.messages) if self._episode else ()

    @property
    def last_turn(self) -> Turn:
        """The last turn, with the whole table behind what was shown; not for the policy's eyes."""
        if self._episode is None or not self._episode.history:
            raise gym.error.ResetNeeded("no turn yet: call reset() and step() first")
        return self._episode.history[-1]

    @property
    def schema(self) -> Schema:
        """The schema of the current episode's database."""
        return self._open(self.task).schema()

    def render(self) -> str | None:
        """Return the transcript so far, with rewards, in mode "ansi"."""
        if self.render_mode != "ansi":
            return None
        return "\n\n".join(self._episode.transcript) if self._episode else ""

    def close(self) -> None:
        """Release the databases; calling it twice is harmless."""
        while self._backends:
            self._backends.popitem()[1].close()

    def attempt(self, work: Callable[[], T], answers: Answers) -> T:
        """Call `work`, which uses this environment, without waiting for long statements.

        Raises `Pending` at a statement that is not in `answers` yet: nothing has happened then,
        and the call is to be made again with the same `answers` when the statement is done.
        """
        self._answers = answers
        try:
            return work()
        finally:
            self._answers = None

    def draw(self) -> Task:
        """Draw a task, as `reset` does; `reset` with its id begins the episode."""
        return self.tasks[int(self.np_random.integers(len(self.tasks)))]

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the open databases: a copy continues the episode where this one is."""
        return {**self.__dict__, "_backends": OrderedDict(), "_answers": None}

    def _open(self, task: Task) -> Backend:
        if task.database not in self._backends:
            self._backends[task.database] = open_backend(task.database, self.limits)
        self._backends.move_to_end(task.database)
        if len(self._backends) > _OPEN_DATABASES:
            self._backends.popitem(last=False)[1].close()
        backend = self._backends[task.database]
        return backend if self._answers is None else Beside(backend, self._answers)

    def _begun(self, task: Task) -> tuple[Episode, str, dict[str, Any]]:
        """Return the episode before its first turn, its prompt and its info."""
        backend = self._open(task)
        golds, outcome = self._golds(task, backend)
        messages = self.protocol.prompt(task, backend.schema(), self.limits, self.max_turns)
        observation = prompt_text(messages)
        trail = Trail.begun(task, self._settings, observation)
        schemas = self.protocol.tool_schemas
        episode = Episode(task, golds, self.max_turns, messages, trail, schemas, outcome=outcome)
        return episode, observation, episode.info(nothing_paid(self._rewards, outcome), messages)

    def _restored(self, state: str) -> tuple[Episode, str, dict[str, Any]]:
        """Return the episode in that state, and what came back when it was reached."""
        recorded = read_state(state)
        try:
            task = lookup(self._by_id, recorded.task_id, "task")
        except UnknownName as error:
            raise StateError(f"options: the state is of another task set: {error}") from error
        recorded.check(task, self._settings)
        episode, observation, info = self._begun(task)
        for turn in recorded.turns:
            if episode.ended:
                raise StateError("options: the state is damaged: it goes on after its end")
            episode, observation, info = self._taken(episode, turn)
        if episode.trail.digest != recorded.digest:
            raise StateError(
                f"options: the turns of the state (task {task.task_id!r}) did not have the same"
                " answers again: the state is damaged, the database has changed, or a statement"
                " ran into the wall clock"
            )
        return episode, observation, info

    def _taken(self, before: Episode, turn: RecordedTurn) -> tuple[Episode, str, dict[str, Any]]:
        """Return the episode after one more turn, with the observation and the info."""
        call, result = self._run(turn, before)
        outcome, database = before.outcome, self._open(before.task)
        if result.final and call is not None:
            outcome = judge(self.matcher, call, result, before, database, self.limits)
        transition = Transition(
            before.task, before.gold_tables, call, result, before.history, outcome,
            database.schema(), last=before.remaining_turns == 1,
        )
        terms, reward = paid(self.scheme, self._rewards, transition)
        done = Turn(call, result)
        left = 0 if result.final else before.remaining_turns - 1
        message = self.protocol.observe(turn.action, done, left)
        messages = (self.protocol.said(turn.action), message)
        after = before.after(turn.action, done, outcome, messages, reward)
        return after, message["content"], after.info(terms, (message,))

    def _golds(self, task: Task, backend: Backend) -> tuple[tuple[Gold, ...], EpisodeOutcome]:
        """Return the golds and the outcome that the episode begins with."""
        try:
            golds = gold_results(task, self.matcher, backend, self.limits)
        except GoldError:
            if self.gold_errors == "raise":
                raise
            return (), EpisodeOutcome.GOLD_ERROR
        return golds, EpisodeOutcome.NO_SUBMISSION

    def _run(self, turn: RecordedTurn, episode: Episode) -> tuple[ToolCall | None, ToolResult]:
        try:
            if len(turn.action) > _LONGEST:
                raise ToolError("the action is too long", CallOutcome.MALFORMED)
            call = self.protocol.parse(turn.action)
        except ToolError as error:
            return None, ToolResult(f"Error: {error}", error.outcome, error=str(error))
        if turn.result is not None:
            return call, turn.result
        try:
            result = TOOLS[call.tool](self._open(episode.task), call.arguments, self.limits)
        except ToolError as error:
            result = failed(error, self.limits)
        if result.error is None and episode.repeats(call):
            result = replace(result, outcome=CallOutcome.DUPLICATE)
        return call, self.protocol.review(call, result, episode.history)

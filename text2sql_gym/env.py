"""`Text2SQLEnv`: one question over one database, answered by acting."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym

from text2sql_gym.backends import open_backend
from text2sql_gym.backends.base import Backend
from text2sql_gym.datasets import load_tasks
from text2sql_gym.episode import Episode
from text2sql_gym.errors import ToolError
from text2sql_gym.golds import gold_results
from text2sql_gym.matching import Matcher
from text2sql_gym.protocols import AgentProtocol
from text2sql_gym.registry import lookup
from text2sql_gym.resolve import limits_of, matcher_of, protocol_of, scheme_of, tasks_by_id
from text2sql_gym.rewards import REWARDS, RewardScheme
from text2sql_gym.spaces import Unicode
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

_LONGEST = 1_000_000
"""characters of an action or an observation"""

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
    all attempts of a GRPO group reset to the same one.

    ## Rewards
    The weighted sum of the terms of a `RewardScheme`: the outcome terms plus `process_scale`
    times the process terms. The default scheme "finestep" pays 1 for an execution match, and
    0.1 times (-1 for a broken hard constraint, else the cell recall of the step's result).

    ## Episode End
    `terminated` on a submission; `truncated` when `max_turns` pass without one.

    ## Information
    The same keys after `reset` and every `step`, never a clock value, a path or the gold:
    `task_id`, `database_id`, `question`, `difficulty` (str); `tool` (the tool called, "" if none);
    `call_outcome` (a `CallOutcome`, "" after `reset`); `error` (str, "" if none); `outcome` (an
    `EpisodeOutcome`); `reward_terms` (raw value of every term, by name); `turn`,
    `remaining_turns` (int); `messages` (the chat messages that are new to the agent).

    ## Arguments
    - `dataset`, `data_dir`, `split`, `dataset_options`: which tasks, see `DATASETS`.
    - `tasks`: tasks given instead, as `Task` records or dicts with its fields as keys; a task
      without gold is never rewarded as right and ends as "no_gold".
    - `protocol`, `protocol_options`: a name in `PROTOCOLS` with its fields, or a protocol object.
    - `matcher`: a name in `MATCHERS`, or a matcher object.
    - `rewards`: a name in `SCHEMES`, a dict with the fields of `RewardScheme`, or a scheme.
    - `max_turns`: turns of an episode, the submission included.
    - `limits`: a `Limits`, or a dict with some of its fields.
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
        render_mode: str | None = None,
    ) -> None:
        if max_turns < 1:
            raise ValueError(f"max_turns must be at least 1, got {max_turns}")
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
        self.limits = limits_of(limits)
        self.render_mode = render_mode
        self.action_space = Unicode(_LONGEST)
        self.observation_space = Unicode(_LONGEST)
        self._backends: OrderedDict[str, Backend] = OrderedDict()
        self._episode: Episode | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode: the task ``options["task_id"]``, or one drawn at random.

        Raises `EnvironmentFault` when the database cannot be opened or a gold query fails
        (`GoldError`), and `UnknownName` for a task id that does not exist.
        """
        super().reset(seed=seed)
        task = self._choose(options or {})
        backend = self._open(task)
        golds = gold_results(task, self.matcher, backend, self.limits)
        messages = self.protocol.prompt(task, backend.schema(), self.limits, self.max_turns)
        observation = "\n\n".join(message["content"] for message in messages)
        self._episode = Episode(task, golds, self.max_turns, (observation,))
        return observation, self._episode.info(dict.fromkeys(self._rewards, 0.0), messages)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take one turn.

        Returns the tool's answer, the weighted step reward, whether a submission ended the
        episode, whether the turns ran out, and the info. The policy's mistakes are answered in
        the observation. Raises `EnvironmentFault` when the environment is at fault, and
        `gymnasium.error.ResetNeeded` without a running episode.
        """
        before = self._running_episode()
        call, result = self._run(action, before)
        outcome = self._judge(call, result, before)
        transition = Transition(
            before.task, before.gold_tables, call, result, before.history, outcome
        )
        terms = {name: reward(transition) for name, reward in self._rewards.items()}
        reward = self.scheme.scalar(terms)
        message = self.protocol.observe(result, before.remaining_turns - 1)
        answer = message["content"]
        after = before.after(action, Turn(call, result), outcome, answer, reward)
        self._episode = after
        return answer, reward, after.terminated, after.truncated, after.info(terms, (message,))

    @property
    def task(self) -> Task:
        """The task of the current episode, gold included; not for the policy's eyes."""
        if self._episode is None:
            raise gym.error.ResetNeeded("no episode yet: call reset() first")
        return self._episode.task

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

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the open databases: a copy continues the episode where this one is."""
        return {**self.__dict__, "_backends": OrderedDict()}

    def _choose(self, options: Mapping[str, Any]) -> Task:
        if unknown := set(options) - {"task_id"}:
            raise ValueError(f"options: expected only 'task_id', got {sorted(unknown)}")
        if "task_id" in options:
            return lookup(self._by_id, options["task_id"], "task")
        return self.tasks[int(self.np_random.integers(len(self.tasks)))]

    def _open(self, task: Task) -> Backend:
        if task.database not in self._backends:
            self._backends[task.database] = open_backend(task.database, self.limits)
        self._backends.move_to_end(task.database)
        if len(self._backends) > _OPEN_DATABASES:
            self._backends.popitem(last=False)[1].close()
        return self._backends[task.database]

    def _running_episode(self) -> Episode:
        if self._episode is None or self._episode.terminated or self._episode.truncated:
            raise gym.error.ResetNeeded("no episode is running: call reset() before step()")
        return self._episode

    def _run(self, action: str, episode: Episode) -> tuple[ToolCall | None, ToolResult]:
        try:
            if len(action) > _LONGEST:
                raise ToolError("the action is too long", CallOutcome.MALFORMED)
            call = self.protocol.parse(action)
        except ToolError as error:
            return None, ToolResult(f"Error: {error}", error.outcome, error=str(error))
        try:
            result = TOOLS[call.tool](self._open(episode.task), call.arguments, self.limits)
        except ToolError as error:
            return call, failed(error, self.limits)
        if episode.repeats(call):
            result = replace(result, outcome=CallOutcome.DUPLICATE)
        return call, result

    def _judge(
        self, call: ToolCall | None, result: ToolResult, episode: Episode
    ) -> EpisodeOutcome:
        if not result.final or call is None:
            return EpisodeOutcome.NO_SUBMISSION
        if result.table is None:
            return EpisodeOutcome.PREDICTED_ERROR
        sql, database = call.arguments["sql"], self._open(episode.task)
        for gold in episode.golds:
            if self.matcher(sql, result.table, gold, database, self.limits) >= 1.0:
                return EpisodeOutcome.MATCH
        return EpisodeOutcome.MISMATCH if episode.golds else EpisodeOutcome.NO_GOLD

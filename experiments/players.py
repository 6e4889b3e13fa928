"""Whatever can be evaluated, as a `Player`: a model in this process, or one that speaks text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agents.chat import Chat
from agents.conversation import Begin, Conversations
from agents.policies.base import Policy
from agents.rollout import Collector
from agents.types import Group
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.types import Limits


class ModelPlayer:
    """A model that is sampled here.

    policy_at  the policy that samples at a temperature
    room       tokens that a prompt may have; a task whose prompt has more is left out
    rows       episodes in flight at once
    on_close   called when it is closed
    """

    def __init__(
        self,
        make_env: Callable[[], Text2SQLEnv],
        chat: Chat,
        policy_at: Callable[[float], Policy],
        *,
        room: int,
        rows: int,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._chat, self._policy_at, self._room = chat, policy_at, room
        self._on_close = on_close
        self._collector = Collector(make_env, chat, rows=rows)
        self._ruler = make_env()
        self._lengths: dict[str, int] = {}

    def __call__(
        self,
        task_ids: Sequence[str],
        group_size: int,
        temperature: float,
        seed: int,
        on_done: Callable[[], None],
    ) -> Mapping[str, Group]:
        """See `Player`."""
        fitting = [task_id for task_id in task_ids if self._length(task_id) < self._room]
        for _ in range((len(task_ids) - len(fitting)) * group_size):
            on_done()
        policy = self._policy_at(temperature)
        groups = self._collector.collect(policy, fitting, group_size, seed, on_done)
        return {group.task_id: group for group in groups}

    @property
    def limits(self) -> Limits:
        """The limits of its environments."""
        return self._ruler.limits

    def close(self) -> None:
        """Close the environments."""
        self._collector.close()
        self._ruler.close()
        self._on_close()

    def _length(self, task_id: str) -> int:
        if task_id not in self._lengths:
            _, info = self._ruler.reset(options={"task_id": task_id})
            prompt_ids = self._chat.prompt_ids(info["messages"], info["tool_schemas"])
            self._lengths[task_id] = len(prompt_ids)
        return self._lengths[task_id]


class TextPlayer:
    """An endpoint or a script, in `workers` threads."""

    def __init__(self, make_env: Callable[[], Text2SQLEnv], begin: Begin, workers: int) -> None:
        self._conversations = Conversations(make_env, begin, workers)

    def __call__(
        self,
        task_ids: Sequence[str],
        group_size: int,
        temperature: float,
        seed: int,
        on_done: Callable[[], None],
    ) -> Mapping[str, Group]:
        """See `Player`."""
        groups = self._conversations.collect(task_ids, group_size, temperature, seed, on_done)
        return {group.task_id: group for group in groups}

    @property
    def limits(self) -> Limits:
        """The limits of its environments."""
        return self._conversations.limits

    def close(self) -> None:
        """Close the environments."""
        self._conversations.close()

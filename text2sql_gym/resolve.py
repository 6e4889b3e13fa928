"""From what `gym.make` takes (names, dicts, or the objects themselves) to the objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from text2sql_gym.datasets import as_task
from text2sql_gym.errors import DatasetError
from text2sql_gym.matching import MATCHERS, Matcher
from text2sql_gym.protocols import PROTOCOLS, AgentProtocol
from text2sql_gym.registry import lookup
from text2sql_gym.rewards import SCHEMES, RewardScheme
from text2sql_gym.types import Limits, Task


def tasks_by_id(tasks: Sequence[Task | Mapping[str, Any]]) -> dict[str, Task]:
    """Return the tasks in their order, by id.

    Raises `DatasetError` when there are none, or when two have the same id.
    """
    by_id: dict[str, Task] = {}
    for task in map(as_task, tasks):
        if task.task_id in by_id:
            raise DatasetError(f"two tasks have the id {task.task_id!r}")
        by_id[task.task_id] = task
    if not by_id:
        raise DatasetError("expected at least one task, got none")
    return by_id


def protocol_of(
    protocol: str | AgentProtocol, options: Mapping[str, Any] | None = None
) -> AgentProtocol:
    """Return a protocol object; `options` are the fields of one given by name."""
    if isinstance(protocol, str):
        return lookup(PROTOCOLS, protocol, "protocol")(**(options or {}))
    if options:
        raise ValueError("protocol_options go with a protocol's name, not with an object")
    return protocol


def matcher_of(matcher: str | Matcher) -> Matcher:
    """Return a matcher object."""
    return lookup(MATCHERS, matcher, "matcher")() if isinstance(matcher, str) else matcher


def scheme_of(rewards: str | Mapping[str, Any] | RewardScheme) -> RewardScheme:
    """Return a reward scheme, from a name or from its fields."""
    if isinstance(rewards, RewardScheme):
        return rewards
    if isinstance(rewards, str):
        return lookup(SCHEMES, rewards, "reward scheme")
    return RewardScheme(**rewards)


def limits_of(limits: Limits | Mapping[str, Any] | None) -> Limits:
    """Return limits, from some of their fields."""
    return limits if isinstance(limits, Limits) else Limits(**(limits or {}))

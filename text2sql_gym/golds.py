"""Gold results, computed once per process and kept: no rollout runs a gold query again."""

from __future__ import annotations

from collections import OrderedDict

from text2sql_gym.backends.base import Backend
from text2sql_gym.errors import GoldError
from text2sql_gym.matching.base import Gold, Matcher
from text2sql_gym.types import Limits, Task

_CAPACITY = 20_000
_cache: OrderedDict[tuple[str, str, Matcher, Limits], Gold] = OrderedDict()


def gold_results(
    task: Task, matcher: Matcher, database: Backend, limits: Limits
) -> tuple[Gold, ...]:
    """Return every gold of `task`, prepared for `matcher`; empty for a task without gold.

    Raises `GoldError` naming the task when a gold query fails: a broken gold is a fault
    of the data, never a reward.
    """
    return tuple(_gold(task, sql, matcher, database, limits) for sql in task.gold_sql)


def _gold(task: Task, sql: str, matcher: Matcher, database: Backend, limits: Limits) -> Gold:
    key = (task.database, sql, matcher, limits)
    if key in _cache:
        _cache.move_to_end(key)
        return _cache[key]
    try:
        gold = matcher.prepare(sql, database, limits)
    except GoldError as error:
        raise GoldError(f"task {task.task_id!r}: {error}") from error
    _cache[key] = gold
    if len(_cache) > _CAPACITY:
        _cache.popitem(last=False)
    return gold

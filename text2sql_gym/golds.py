"""Gold results, computed once per process and kept: no rollout runs a gold query again."""

from __future__ import annotations

import threading
from collections import OrderedDict

from text2sql_gym.backends.base import Backend
from text2sql_gym.errors import EnvironmentFault, GoldError
from text2sql_gym.matching.base import Gold, Matcher
from text2sql_gym.matching.companions import sqlite_file
from text2sql_gym.types import Limits, Task

_Key = tuple[str, tuple[int, ...], str, Matcher, Limits]

CAPACITY = 20_000
"""gold results kept by one process"""

CELLS = 5_000_000
"""cells of all gold results kept by one process"""


class GoldCache:
    """The gold results used last, at most `CAPACITY` of them and about `CELLS` cells."""

    def __init__(self, capacity: int = CAPACITY, cells: int = CELLS) -> None:
        self._capacity, self._cells = capacity, cells
        self._golds: OrderedDict[_Key, Gold] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def get(self, key: _Key) -> Gold | None:
        """Return the gold kept under `key`, if it is still there."""
        with self._lock:
            if key in self._golds:
                self._golds.move_to_end(key)
            return self._golds.get(key)

    def put(self, key: _Key, gold: Gold) -> None:
        """Keep a gold, and drop those not used for longest where the room ends."""
        with self._lock:
            if key in self._golds:
                return
            self._golds[key] = gold
            self._held += _cells(gold)
            while len(self._golds) > self._capacity or self._held > self._cells:
                self._held -= _cells(self._golds.popitem(last=False)[1])


_CACHE = GoldCache()


def gold_results(
    task: Task, matcher: Matcher, database: Backend, limits: Limits, cache: GoldCache = _CACHE
) -> tuple[Gold, ...]:
    """Return every gold of `task`, prepared for `matcher`; empty for a task without gold.

    Raises `GoldError` naming the task when a gold query fails: a broken gold is a fault
    of the data, never a reward.
    """
    place = (database.url, _state(database.url))
    golds = []
    for sql in task.gold_sql:
        key = (*place, sql, matcher, limits)
        gold = cache.get(key) or _prepare(task, sql, matcher, database, limits)
        cache.put(key, gold)
        golds.append(gold)
    return tuple(golds)


def _prepare(task: Task, sql: str, matcher: Matcher, database: Backend, limits: Limits) -> Gold:
    try:
        return matcher.prepare(sql, database, limits)
    except GoldError as error:
        raise GoldError(f"task {task.task_id!r}: {error}") from error


def _state(url: str) -> tuple[int, ...]:
    """What tells one state of an SQLite file from another; a server's cannot be seen."""
    path = sqlite_file(url)
    if path is None:
        return ()
    try:
        status = path.stat()
    except OSError as error:
        raise EnvironmentFault(f"{path}: the database is gone: {error}") from error
    return status.st_ino, status.st_size, status.st_mtime_ns


def _cells(gold: Gold) -> int:
    return len(gold.table.rows) * len(gold.table.columns)

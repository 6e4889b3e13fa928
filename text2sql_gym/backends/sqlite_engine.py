"""SQLite inside a worker process: guarded connections to several files. Standard library only."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from time import perf_counter

from text2sql_gym.backends.answers import Answer, Refused
from text2sql_gym.backends.sqlite_guard import CLOCK, PLAIN, Escalate, GuardedConnection, Tier

_OPEN_DATABASES = 32


class SqliteEngine:
    """Guarded connections of this process, the least recently used closed first."""

    def __init__(self, memory_mb: int) -> None:
        with sqlite3.connect(":memory:") as connection:
            # holds for every connection of this process, and cannot be raised again
            connection.execute(f"PRAGMA hard_heap_limit={memory_mb << 20}")
        self._open: OrderedDict[tuple[str, str, bool], GuardedConnection] = OrderedDict()

    def run(
        self, path: str, version: str, sql: str, max_rows: int, vm_steps: int, seconds: float
    ) -> Answer:
        """Run one statement on the file that had this version when it was opened."""
        deadline = perf_counter() + seconds
        try:
            plain = self._connection(path, version, PLAIN)
            return plain.run(sql, max_rows, vm_steps=vm_steps, seconds=seconds)
        except Escalate:
            clock = self._connection(path, version, CLOCK)
            left = deadline - perf_counter()
            return clock.run(sql, max_rows, vm_steps=vm_steps, seconds=left)
        except sqlite3.Error as error:
            raise Refused("fault", f"cannot be opened again: {error}", repeatable=False) from error

    def _connection(self, path: str, version: str, tier: Tier) -> GuardedConnection:
        key = (path, version, tier.stopped_clock)
        if key not in self._open:
            self._open[key] = GuardedConnection(path, tier)
        self._open.move_to_end(key)
        if len(self._open) > _OPEN_DATABASES:
            self._open.popitem(last=False)[1].close()
        return self._open[key]

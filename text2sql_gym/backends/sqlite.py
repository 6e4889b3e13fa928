"""SQLite files behind a guard: light statements in this process, all others in a worker process.

A statement first runs here, where it costs a few microseconds more than plain `sqlite3`, with a
small budget of steps and without anything that one call could make long. What goes over that
budget, or could, runs again in a worker process, which can be killed. Both use the same guard, so
the answer does not depend on the way it took.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from time import perf_counter
from typing import Any

from text2sql_gym.backends.sqlite_cache import Failure
from text2sql_gym.backends.sqlite_shared import (
    ALONE,
    BESIDE,
    Budget,
    Result,
    SharedDatabase,
    attach,
    detach,
)
from text2sql_gym.backends.worker_pool import generation, worker_pool
from text2sql_gym.errors import EnvironmentFault, ToolError
from text2sql_gym.types import CallOutcome, Limits, Schema, Table


class SqliteBackend:
    """Read-only, guarded access to one SQLite file.

    Backends of one process share connections, worker processes and remembered results, so that
    hundreds of them cost little more than one. A backend can be pickled, and used after a fork:
    it opens the file again.

    `isolated` sends every statement to a worker process, light ones too; `cached` lets repeated
    statements be answered from memory. Neither changes an answer.

    Raises `EnvironmentFault` when the file is missing, is no database, or has changes that were
    never written into it (a leftover ``-wal`` or ``-journal`` file). The file must not change
    while it is open.
    """

    def __init__(
        self,
        path: str | Path,
        limits: Limits = Limits(),
        *,
        isolated: bool = False,
        cached: bool = True,
    ) -> None:
        self._path, self._limits = os.path.realpath(path), limits
        self.url = f"sqlite:///{self._path}"
        self._isolated, self._cached = isolated, cached
        self._open()

    def schema(self) -> Schema:
        """Return tables and views as declared, with BIRD's descriptions where they exist."""
        return self._database().schema

    def execute(self, sql: str, *, max_rows: int) -> Table:
        """Run one SELECT; see `Backend.execute`.

        A result above 32 MB or two million cells is cut too (``complete=False``). A statement gets
        the same answer every time, unless the wall clock stops it.
        """
        database, deadline = self._database(), perf_counter() + self._limits.seconds
        result = self._run_here(database, sql, max_rows, ALONE)
        return _table(result or self._heavy(database, sql, max_rows, deadline)())

    def submit(self, sql: str, *, max_rows: int) -> Future[Table]:
        """Run one SELECT beside others: as `execute`, but the answer is a future.

        A light statement is answered before this returns; the others run side by side in the
        worker processes. The time a statement waits for a worker does not count against it.
        The future raises what `execute` would raise; it is cancelled if it still waits for a
        worker when the last SQLite backend of the process closes.
        """
        database, deadline = self._database(), perf_counter() + self._limits.seconds
        done: Future[Table] = Future()
        try:
            result = self._run_here(database, sql, max_rows, BESIDE)
            if result is None:
                run = self._heavy(database, sql, max_rows, deadline)
                return worker_pool("sqlite", self._limits.memory_mb).submit(lambda: _table(run()))
            done.set_result(_table(result))
        except (ToolError, EnvironmentFault) as error:
            done.set_exception(error)
        return done

    def close(self) -> None:
        """Release the file; the last backend of the process also stops its worker processes."""
        self._release()

    def _run_here(
        self, database: SharedDatabase, sql: str, max_rows: int, budget: Budget
    ) -> Result | None:
        """Answer from memory or in this process; None when the statement needs a worker."""
        limit = self._limits.sql_characters
        if len(sql) > limit:
            message = f"the statement is longer than {limit} characters"
            return Failure(message, CallOutcome.SQL_ERROR, True)
        result = database.known(sql, max_rows) if self._cached else None
        if result is None and not self._isolated:
            result = database.run_light(sql, max_rows, budget)
            if result is not None and self._cached:
                database.remember(sql, max_rows, result)
        return result

    def _heavy(
        self, database: SharedDatabase, sql: str, max_rows: int, deadline: float
    ) -> Callable[[], Result]:
        """Prepare a run in a worker for the time that is left now."""
        pool = worker_pool("sqlite", self._limits.memory_mb)
        left, cached = max(0.001, deadline - perf_counter()), self._cached

        def run() -> Result:  # keeps no backend alive: one dropped in a thread of the pool
            result = database.run_heavy(pool, sql, max_rows, left)  # would close the pool there
            if cached:
                database.remember(sql, max_rows, result)
            return result

        return run

    def _open(self) -> None:
        self._generation = generation()
        self._shared = attach(self._path, self._limits)
        # also releases a backend that is dropped or left open at exit; only the first call counts
        self._release = weakref.finalize(self, detach, self._shared, self._generation)

    def _database(self) -> SharedDatabase:
        if not self._release.alive:
            raise EnvironmentFault(f"{self._path}: the backend is closed")
        if self._generation != generation():
            self._release.detach()
            self._open()
        return self._shared

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._path, self._limits, self._isolated, self._cached)


def _reopen(path: str, limits: Limits, isolated: bool, cached: bool) -> SqliteBackend:
    return SqliteBackend(path, limits, isolated=isolated, cached=cached)


def _table(result: Result) -> Table:
    if isinstance(result, Failure):
        raise ToolError(result.message, result.outcome)
    return result

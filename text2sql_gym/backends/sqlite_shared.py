"""What the SQLite backends of one process share: open files, remembered results, workers."""

from __future__ import annotations

import itertools
import marshal
import os
import sqlite3
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from text2sql_gym.backends.answers import Refused
from text2sql_gym.backends.sqlite_cache import Failure, ResultCache
from text2sql_gym.backends.sqlite_guard import LIGHT, Escalate, GuardedConnection
from text2sql_gym.backends.sqlite_schema import read_schema
from text2sql_gym.backends.worker_pool import WorkerLost, WorkerPool, enter, generation, leave
from text2sql_gym.errors import EnvironmentFault
from text2sql_gym.types import CallOutcome, Limits, Schema, Table

Result = Table | Failure


class Budget(NamedTuple):
    """What a statement may use in this process before it moves to a worker, where it starts anew.

    Steps count first: how long they take depends on what else the machine does. `waiting` is for
    how long it may wait for a statement of another thread to end here.
    """

    vm_steps: int
    seconds: float
    waiting: float = 0.002


ALONE = Budget(4_000_000, 0.5)
"""When the caller waits for the answer: moving costs what was done so far, so it is rare."""

BESIDE = Budget(2_000, 0.005)
"""When others wait for this process: about as long as a worker costs."""

CACHE_BYTES = 16_000_000
"""Serialised size of all remembered results of this process."""

_CACHED_CELLS = 2_000
_HOT_JOURNAL = bytes.fromhex("d9d505f920a163d7")

_Key = tuple[str, str, Limits]


class SharedDatabase:
    """One open file under one set of limits. Safe to use from many threads."""

    def __init__(self, path: str, version: str, limits: Limits) -> None:
        self.path, self.limits, self._version = path, limits, version
        self.users = 0
        self._lock = threading.Lock()
        self._number = next(_NUMBERS)
        try:
            self._guard = GuardedConnection(path, LIGHT)
        except sqlite3.Error as error:
            raise EnvironmentFault(f"{path}: not a readable SQLite database: {error}") from error

    @cached_property
    def schema(self) -> Schema:
        """Tables and views in declared order."""
        return read_schema(self.path)

    def known(self, sql: str, max_rows: int) -> Result | None:
        """Return the remembered result of this statement, if there is one."""
        return _CACHE.get((self._number, sql, max_rows))

    def remember(self, sql: str, max_rows: int, result: Result) -> None:
        """Keep a result for `known`, if it may be repeated and is not too large."""
        if isinstance(result, Failure):
            if result.repeatable:
                _CACHE.put((self._number, sql, max_rows), result)
        elif len(result.rows) * len(result.columns) <= _CACHED_CELLS:
            _CACHE.put((self._number, sql, max_rows), result)

    def run_light(self, sql: str, max_rows: int, budget: Budget) -> Result | None:
        """Run a statement in this process; None when it needs a worker."""
        if not self._lock.acquire(timeout=budget.waiting):
            return None
        try:
            columns, rows, complete, reads = self._guard.run(
                sql,
                max_rows,
                vm_steps=min(budget.vm_steps, self.limits.vm_steps),
                seconds=min(budget.seconds, self.limits.seconds / 3),
            )
        except Escalate:
            return None
        except Refused as refusal:
            return self._failure(refusal.kind, refusal.message, refusal.repeatable)
        finally:
            self._lock.release()
        return Table(columns, tuple(rows), complete, reads)

    def run_heavy(self, pool: WorkerPool, sql: str, max_rows: int, seconds: float) -> Result:
        """Run a statement in a worker process, for at most that many seconds."""
        arguments = (self.path, self._version, sql, max_rows, self.limits.vm_steps, seconds)
        try:
            kind, *answer = pool.ask(marshal.dumps(("run", seconds, arguments)), seconds)
        except WorkerLost as lost:
            if lost.late:
                return Failure("stopped: the statement ran too long", CallOutcome.TIMEOUT, False)
            return Failure("the process of the statement died", CallOutcome.SQL_ERROR, False)
        if kind != "ok":
            return self._failure(kind, *answer)
        columns, rows, complete, reads = answer[0]
        return Table(columns, tuple(rows), complete, reads)

    def close(self) -> None:
        """Close the connection; workers close theirs when they need the room."""
        with self._lock:
            self._guard.close()

    def _failure(self, kind: str, message: str, repeatable: bool) -> Failure:
        if kind == "fault":
            raise EnvironmentFault(f"{self.path}: {message}")
        return Failure(message, CallOutcome(kind), repeatable)


_CACHE = ResultCache(CACHE_BYTES)
_NUMBERS = itertools.count()
_LOCK = threading.RLock()
_OPEN: dict[_Key, SharedDatabase] = {}
_LEFT_TO_PARENT: list[SharedDatabase] = []
_AT_LAST_CLOSE: list[Callable[[], None]] = []


def at_last_close(forget: Callable[[], None]) -> None:
    """Call `forget` each time the last SQLite database of this process is closed."""
    _AT_LAST_CLOSE.append(forget)


def attach(path: str, limits: Limits) -> SharedDatabase:
    """Open a file, or count one more user of it. `detach` must follow."""
    version = _checked_version(path)
    with _LOCK:
        key = (path, version, limits)
        if key not in _OPEN:
            _OPEN[key] = SharedDatabase(path, version, limits)
        _OPEN[key].users += 1
        enter("sqlite", limits.memory_mb)
        return _OPEN[key]


def detach(database: SharedDatabase, opened_in: int) -> None:
    """Count one user less; with the last user of the last file, all results are forgotten."""
    if opened_in != generation():
        return
    with _LOCK:
        database.users -= 1
        if not database.users:
            for key in [key for key, value in _OPEN.items() if value is database]:
                del _OPEN[key]
            database.close()
        if not _OPEN:
            _CACHE.clear()
            for forget in _AT_LAST_CLOSE:
                forget()
    leave("sqlite", database.limits.memory_mb, opened_in)


def _checked_version(path: str) -> str:
    """Return what tells this state of the file from another; refuse what cannot be trusted."""
    file = Path(path)
    if not file.is_file():
        raise EnvironmentFault(f"no SQLite database at {path}: expected a file there")
    status = file.stat()
    if status.st_size == 0:
        raise EnvironmentFault(f"{path}: the file is empty, expected an SQLite database")
    _refuse_leftovers(path)
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def _refuse_leftovers(path: str) -> None:
    """Refuse a file whose latest changes lie beside it: they would be silently left out."""
    log, journal = Path(path + "-wal"), Path(path + "-journal")
    hot = journal.is_file() and journal.read_bytes()[:8] == _HOT_JOURNAL
    if hot or (log.is_file() and log.stat().st_size):
        raise EnvironmentFault(
            f"{path}: changes in {(journal if hot else log).name} were never written into the"
            " database; open it once with sqlite3, run PRAGMA wal_checkpoint(TRUNCATE), close it"
        )


def _after_fork_in_child() -> None:
    """SQLite connections do not survive a fork: keep them unused, open anew."""
    global _LOCK, _CACHE
    _LOCK, _CACHE = threading.RLock(), ResultCache(CACHE_BYTES)
    _LEFT_TO_PARENT.extend(_OPEN.values())
    _OPEN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

"""A backend whose every statement runs in a worker process: for engines without a light tier."""

from __future__ import annotations

import marshal
import weakref
from concurrent.futures import Future
from functools import partial
from importlib.util import find_spec
from typing import Any

from text2sql_gym.backends.worker_pool import WorkerLost, enter, generation, leave, worker_pool
from text2sql_gym.errors import EnvironmentFault, ToolError
from text2sql_gym.types import (
    CallOutcome,
    Column,
    ForeignKey,
    Limits,
    Schema,
    Table,
    TableSchema,
)

_SCHEMA_SECONDS = 60.0


class RemoteBackend:
    """Read-only, guarded access to a database through an engine in a worker process.

    `target` are the engine's first arguments, which name the database. The step limit is
    SQLite's alone: here the wall clock stops a statement.

    Raises `EnvironmentFault` when the database cannot be opened.
    """

    def __init__(self, engine: str, url: str, target: tuple[str, ...], limits: Limits) -> None:
        self.url = url
        self._engine, self._target, self._limits = engine, target, limits
        self._enter()
        try:
            self._schema = _schema(self._ask("schema", _SCHEMA_SECONDS))
        except (EnvironmentFault, ToolError) as error:
            self.close()
            raise EnvironmentFault(f"{target[0]}: {error}") from error

    def schema(self) -> Schema:
        """Return tables and views in the order in which they were created."""
        return self._schema

    def execute(self, sql: str, *, max_rows: int) -> Table:
        """Run one SELECT; see `Backend.execute`.

        A result above 32 MB or two million cells is cut too (``complete=False``).
        """
        self._check(sql)
        return self._run(sql, max_rows)

    def submit(self, sql: str, *, max_rows: int) -> Future[Table]:
        """Run one SELECT beside others: as `execute`, but the answer is a future."""
        try:
            self._check(sql)
        except ToolError as error:
            refused: Future[Table] = Future()
            refused.set_exception(error)
            return refused
        pool = worker_pool(self._engine, self._limits.memory_mb)
        return pool.submit(partial(self._run, sql, max_rows))

    def close(self) -> None:
        """Let go of the workers; the last backend that uses them stops them."""
        self._leave()

    def _check(self, sql: str) -> None:
        if not self._leave.alive:
            raise EnvironmentFault(f"{self._target[0]}: the backend is closed")
        if self._generation != generation():
            self._leave.detach()
            self._enter()
        if len(sql) > self._limits.sql_characters:
            limit = self._limits.sql_characters
            raise ToolError(f"the statement is longer than {limit} characters")

    def _run(self, sql: str, max_rows: int) -> Table:
        seconds = self._limits.seconds
        columns, rows, complete, reads = self._ask("run", seconds, sql, max_rows, seconds)
        return Table(columns, tuple(rows), complete, reads)

    def _ask(self, operation: str, seconds: float, *arguments: Any) -> Any:
        """Let a worker do something. Raises `ToolError` or `EnvironmentFault`."""
        pool = worker_pool(self._engine, self._limits.memory_mb)
        request = marshal.dumps((operation, seconds, (*self._target, *arguments)))
        try:
            kind, *answer = pool.ask(request, seconds)
        except WorkerLost as lost:
            if lost.late:
                raise ToolError(
                    "stopped: the statement ran too long", CallOutcome.TIMEOUT
                ) from lost
            raise ToolError("the process of the statement died") from lost
        if kind == "fault":
            raise EnvironmentFault(answer[0])
        if kind != "ok":
            raise ToolError(answer[0], CallOutcome(kind))
        return answer[0]

    def _enter(self) -> None:
        self._generation = generation()
        key = (self._engine, self._limits.memory_mb)
        enter(*key)
        self._leave = weakref.finalize(self, leave, *key, self._generation)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteBackend, (self._engine, self.url, self._target, self._limits)


def require(package: str, extra: str) -> None:
    """Raise `EnvironmentFault` naming the extra when an engine's package is not installed."""
    if find_spec(package) is None:
        raise EnvironmentFault(
            f"this database needs the package {package}: pip install 'text2sql-gym[{extra}]'"
        )


def _schema(tables: list[Any]) -> Schema:
    return tuple(
        TableSchema(
            name,
            tuple(Column(*column) for column in columns),
            tuple(ForeignKey(*link) for link in links),
        )
        for name, columns, links in tables
    )

"""What the environment asks of a database engine."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from text2sql_gym.types import Schema, Table


class Backend(Protocol):
    """Read-only, guarded access to one database. Not shared between threads."""

    @property
    def url(self) -> str:
        """Where the database is, as `open_backend` takes it; a plain attribute will do."""

    def schema(self) -> Schema:
        """Return tables and views in declared order; computed once per database."""

    def execute(self, sql: str, *, max_rows: int) -> Table:
        """Run one SELECT and return at most `max_rows` rows (``complete=False`` if there are more).

        Raises `ToolError` with its outcome (SQL_ERROR, TIMEOUT, NOT_ALLOWED) when the statement
        is at fault, `EnvironmentFault` when the database or the machine is.
        """

    def submit(self, sql: str, *, max_rows: int) -> Future[Table]:
        """Run one SELECT beside others; the future gives or raises what `execute` would."""

    def close(self) -> None:
        """Release every connection, process and file; calling it twice is harmless."""

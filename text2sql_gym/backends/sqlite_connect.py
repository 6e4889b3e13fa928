"""Open an SQLite file read-only, with SQLite's own limits lowered. Standard library only."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def connect(path: str) -> sqlite3.Connection:
    """Open a file that is never written: no locks are taken, so the file must not change."""
    return sqlite3.connect(
        f"{Path(path).absolute().as_uri()}?mode=ro&immutable=1",
        uri=True,
        isolation_level=None,
        cached_statements=0,  # a cached statement is not prepared again: no reads are reported
        check_same_thread=False,
    )


def set_limits(connection: sqlite3.Connection, *, length: int, pattern: int) -> None:
    """Lower SQLite's own limits to what a question over a database can need."""
    for limit, value in (
        (sqlite3.SQLITE_LIMIT_LENGTH, length),
        (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, pattern),
        (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 1_000_000),
        (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200),
        (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 100),
        (sqlite3.SQLITE_LIMIT_COLUMN, 500),
        (sqlite3.SQLITE_LIMIT_FUNCTION_ARG, 50),
        (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
        (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 5),
        (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
        (sqlite3.SQLITE_LIMIT_VDBE_OP, 100_000),
        (sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 500),
    ):
        connection.setlimit(limit, value)


def table_names(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Return (name, "table" or "view", its definition) of everything that can be read."""
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    sql = "SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view')"
    names: list[tuple[str, str, str]] = connection.execute(sql).fetchall()
    connection.text_factory = str
    return names


def modules(connection: sqlite3.Connection) -> frozenset[str]:
    """Return the virtual tables this build of SQLite offers to every statement."""
    rows = connection.execute("PRAGMA module_list").fetchall()
    return frozenset(name.lower() for (name,) in rows) | {"bytecode", "tables_used", "completion"}


def run_if_known(connection: sqlite3.Connection, sql: str) -> None:
    """Run a statement that some builds of SQLite do not know."""
    try:
        connection.execute(sql).fetchall()
    except sqlite3.OperationalError:  # such as a build without JSON
        return

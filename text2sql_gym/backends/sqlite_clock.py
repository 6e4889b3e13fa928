"""SQLite's date functions with the clock stopped at `NOW`. Standard library only.

A statement about "now" gives the same answer on every day and every machine. SQLite has no
setting for this, so its date functions are replaced by ones that put `NOW` where the clock would
be read, and leave the rest to the built-in functions of a second, empty connection.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from functools import lru_cache

from text2sql_gym.sql_text import delimited

NOW = "2025-01-01 00:00:00"
"""What 'now' means in every statement, in UTC. The value is a choice of this package."""

_Value = None | int | float | str | bytes

TIME_ARGUMENTS = {
    "date": 0,
    "time": 0,
    "datetime": 0,
    "julianday": 0,
    "unixepoch": 0,
    "strftime": 1,
    "timediff": 0,
}
"""Where each function takes its time; ``timediff`` takes a second one behind it."""

_WITHOUT_ARGUMENTS: dict[str, _Value] = {
    "current_date": "2025-01-01",
    "current_time": "00:00:00",
    "current_timestamp": NOW,
    "date": "2025-01-01",
    "time": "00:00:00",
    "datetime": NOW,
    "julianday": 2460676.5,
    "unixepoch": 1735689600,
}

_WORDS = ("now", "subsec", "localtime", "utc")

_MAY_READ_CLOCK = re.compile(
    "|".join(_WORDS)
    + r"|\|\||x'|char|printf|format|concat|string_agg|replace|hex|unistr|json|quote",
    re.IGNORECASE,
)


def may_read_clock(sql: str) -> bool:
    """Say whether a date function in this text may get 'now' or a local time.

    True also for texts that could put the word 'now' together (``'n' || 'ow'``), but not for a
    text that takes it from a cell: see `cells_with_words`.
    """
    return _MAY_READ_CLOCK.search(sql) is not None


def cells_with_words(table: str, column: str) -> str:
    """Return a query that has a row if a cell of the column holds a word that reads the clock."""
    text = f"lower(CAST({delimited(column)} AS TEXT))"
    found = " OR ".join(f"instr({text}, '{word}')" for word in _WORDS)
    texts = f"typeof({delimited(column)}) IN ('text', 'blob')"
    return f"SELECT 1 FROM {delimited(table)} WHERE {texts} AND ({found}) LIMIT 1"


def stop_defaults(connection: sqlite3.Connection) -> None:
    """Fix ``CURRENT_DATE``, ``date()``, ``strftime('%Y')`` and the like: no cost for other calls.

    SQLite prefers a function with the exact number of arguments, so calls that name a time keep
    the built-in function and its speed.
    """
    for name, value in _WITHOUT_ARGUMENTS.items():
        connection.create_function(name, 0, _constant(value), deterministic=True)
    connection.create_function("strftime", 1, _stopped("strftime"), deterministic=True)


def stop_all(connection: sqlite3.Connection) -> None:
    """Fix every form, also ``date('now')``; costs about two microseconds per call."""
    stop_defaults(connection)
    for name in TIME_ARGUMENTS:
        connection.create_function(name, -1, _stopped(name), deterministic=True)


def _constant(value: _Value) -> Callable[[], _Value]:
    return lambda: value


def _stopped(name: str) -> Callable[..., _Value]:
    """Wrap a built-in date function so that it never reads the clock."""
    first = TIME_ARGUMENTS[name]
    times = (first, first + 1) if name == "timediff" else (first,)

    def call(*arguments: _Value) -> _Value:
        values = list(arguments)
        if len(values) <= first or _word(values[first]) in ("subsec", "subsecond"):
            values.insert(first, NOW)
        for place in times:
            if place < len(values) and _word(values[place]) == "now":
                values[place] = NOW
        marks = ",".join("?" * len(values))
        value: _Value = _plain().execute(f"SELECT {name}({marks})", values).fetchone()[0]
        return value

    return call


@lru_cache(maxsize=1)
def _plain() -> sqlite3.Connection:
    """Return an empty database, whose date functions are SQLite's own."""
    return sqlite3.connect(":memory:", check_same_thread=False)


def _word(value: _Value) -> str:
    """Read an argument as SQLite does: a blob of the right bytes is a word too."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return text.lower() if isinstance(text, str) else ""

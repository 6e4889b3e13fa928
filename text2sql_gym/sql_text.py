"""Small facts about SQL as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
      \w+ (?: '(?:[^']+|'')*(?:'|\Z) )?                        # word, 1, x'00'
    | '(?:[^']+|'')*(?:'|\Z) | "(?:[^"]+|"")*(?:"|\Z) | `[^`]*(?:`|\Z) | \[[^\]]*(?:\]|\Z)
    | --[^\n]* | /\*.*?(?:\*/|\Z)                              # says nothing
    | \S
    """,
    re.VERBOSE | re.DOTALL,
)
_PLAIN_TOKEN = re.compile(r"\w+|\S")
_NOT_PLAIN = re.compile(r"['\"`\[]|--|/\*")

_DIALECTS = {"duckdb": "duckdb", "postgresql": "postgres"}  # by URL scheme; SQLite otherwise


class Token(NamedTuple):
    """A word, a character or a quoted text, with its place in the statement."""

    text: str
    start: int
    end: int


def delimited(name: str) -> str:
    """An identifier in double quotes, whatever it is made of."""
    return '"' + name.replace('"', '""') + '"'


def tokens(sql: str) -> Iterator[Token]:
    """Yield what a statement says, without white space and comments. Linear in its length."""
    for found in _TOKEN.finditer(sql):
        if not found[0].startswith(("--", "/*")):
            yield Token(found[0], *found.span())


def names(sql: str) -> frozenset[str]:
    """Every word and every quoted text of a statement, unquoted, in lower case."""
    return frozenset(token.text.strip("'\"`[]").lower() for token in tokens(sql))


def normalized(sql: str) -> str:
    """Return `sql` with case, white space and comments evened out and the last ``;`` dropped.

    Quoted text keeps its case and spaces: ``'Oslo'`` and ``'oslo'`` are different queries. Two
    statements with the same normal form are a repeat. Linear in the length of `sql`: a quote that
    is not closed reaches to the end.
    """
    return _remembered(sql) if len(sql) <= _SHORT else _normalized(sql)


def _normalized(sql: str) -> str:
    if not _NOT_PLAIN.search(sql):
        return " ".join(_PLAIN_TOKEN.findall(sql)).lower().rstrip("; ")
    tokens = [
        token if "'" in token or token[0] in '"`[' else token.lower()
        for token in _TOKEN.findall(sql)
        if not token.startswith(("--", "/*"))
    ]
    return " ".join(tokens).rstrip("; ")


_SHORT = 1_000  # characters up to which a normal form is worth remembering
_remembered = lru_cache(maxsize=4_096)(_normalized)


def dialect_of(url: str) -> str:
    """Return sqlglot's name for the SQL of the engine that a database URL (or path) names."""
    return _DIALECTS.get(url.partition("://")[0], "sqlite")

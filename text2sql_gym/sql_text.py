"""Small facts about SQL as text."""

from __future__ import annotations

import re
from functools import lru_cache

_TOKEN = re.compile(
    r"""
      (?: \s | --[^\n]* | /\*.*?(?:\*/|\Z) )+                  # says nothing
    | (?P<quoted> \w* '(?:[^']+|'')*(?:'|\Z)                   # 'text', x'00'
                | "(?:[^"]+|"")*(?:"|\Z) | `[^`]*(?:`|\Z) | \[[^\]]*(?:\]|\Z) )
    | (?P<word> \w+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)


def normalized(sql: str) -> str:
    """Return `sql` with case, white space and comments evened out and the last ``;`` dropped.

    Quoted text keeps its case and spaces: ``'Oslo'`` and ``'oslo'`` are different queries. Two
    statements with the same normal form are a repeat. Linear in the length of `sql`: a quote that
    is not closed reaches to the end.
    """
    return _remembered(sql) if len(sql) <= _SHORT else _normalized(sql)


def _normalized(sql: str) -> str:
    tokens = (found["quoted"] or (found["word"] or "").lower() for found in _TOKEN.finditer(sql))
    return " ".join(filter(None, tokens)).rstrip("; ")


_SHORT = 1_000  # characters up to which a normal form is worth remembering
_remembered = lru_cache(maxsize=4_096)(_normalized)

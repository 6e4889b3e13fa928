"""Small facts about SQL as text."""

from __future__ import annotations

import re

_QUOTED_OR_SPACE = re.compile(r"""('[^']*'|"[^"]*"|`[^`]*`|\[[^\]]*\])|\s+""")


def normalized(sql: str) -> str:
    """Return `sql` with case and white space evened out and the last ``;`` dropped.

    Quoted text keeps its case and spaces: ``'Oslo'`` and ``'oslo'`` are different queries. Two
    statements with the same normal form are a repeat. Linear in the length of `sql`.
    """
    parts: list[str] = []
    end = 0
    for found in _QUOTED_OR_SPACE.finditer(sql):
        parts.append(sql[end : found.start()].lower())
        parts.append(found[1] if found[1] is not None else " ")
        end = found.end()
    parts.append(sql[end:].lower())
    return "".join(parts).strip().rstrip("; ")

"""How a result is shown to the policy: named columns, in order, cut with the cut said.

Text from a database is data. `neutral` makes sure none of it can be read as a tag.
"""

from __future__ import annotations

import re

from text2sql_gym.types import Cell, Limits, Table

_TAG_START = re.compile(r"<(?=[A-Za-z/|!])")


def neutral(text: str) -> str:
    """Return `text` with every ``<`` that could open a tag or a chat token written ``&lt;``.

    ``a < b`` and ``x <= 3`` stay as they are.
    """
    return _TAG_START.sub("&lt;", text)


def show_cell(value: Cell, limits: Limits) -> str:
    """One line of text: NULL, numbers as Python prints them, text with line breaks escaped."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        text = f"x'{value[: limits.shown_cell_characters].hex()}'"
    else:
        text = str(value)
    cut = len(text) - limits.shown_cell_characters
    if cut > 0:
        text = f"{text[:-cut]}...(+{cut} characters)"
    return neutral(text.replace("\r", "\\r").replace("\n", "\\n"))


def show_table(table: Table, limits: Limits) -> str:
    """Column names, up to ``limits.shown_rows`` rows, and one line that says what was left out.

    The whole is cut at ``limits.shown_characters``; the last line is never cut.
    """
    lines = [" | ".join(neutral(name) for name in table.columns)]
    room = limits.shown_characters - len(lines[0])
    for row in table.rows[: limits.shown_rows]:
        line = " | ".join(show_cell(value, limits) for value in row)
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    lines[0] = lines[0][: limits.shown_characters]
    return "\n".join([*lines, _count(table, shown=len(lines) - 1)])


def _count(table: Table, *, shown: int) -> str:
    total = len(table.rows)
    if not table.complete:
        return f"({shown} rows shown of more than {total})"
    if shown < total:
        return f"({shown} rows shown of {total})"
    return "(1 row)" if total == 1 else f"({total} rows)"

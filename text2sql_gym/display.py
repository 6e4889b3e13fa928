"""How a result is shown to the policy: named columns, in order, cut with the cut said.

Text from a database is data. `neutral` makes sure none of it can be read as a tag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from text2sql_gym.types import Cell, Limits, Table

_TAG_START = re.compile(r"<(?=[^\W\d]|[/|!?\uff5c])")
_BRACKETED = (
    "INST", "SYSTEM_PROMPT", "AVAILABLE_TOOLS", "TOOL_CALLS", "TOOL_RESULTS", "TOOL_CONTENT",
    "CALL_ID", "ARGS", "THINK",
)  # fmt: skip
_BRACKETED_START = re.compile(rf"\[(?=/?(?:{'|'.join(_BRACKETED)})\])")
BRACKETED_TOKENS = tuple(f"[{slash}{name}]" for name in _BRACKETED for slash in ("", "/"))
"""Chat tokens as Mistral's templates write them."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def neutral(text: str) -> str:
    """Return `text` with every ``<`` that could open a tag or a chat token written ``&lt;``.

    So is the bracket of ``[INST]`` and its like, as ``&#91;``. ``a < b``, ``x <= 3``, ``x <> 3``
    and ``[id]`` stay as they are.
    """
    return _BRACKETED_START.sub("&#91;", _TAG_START.sub("&lt;", text))


def one_line(text: str, limit: int) -> str:
    """Return `text` cut at `limit` characters, with control characters escaped, and `neutral`."""
    if len(text) > limit:
        text = f"{text[:limit]}...(+{len(text) - limit} characters)"
    if "<" not in text and "[" not in text and text.isprintable():
        return text
    return neutral(_CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text))


def show_cell(value: Cell, limits: Limits) -> str:
    """One line of text: NULL, numbers as Python prints them, blobs in hexadecimal."""
    if isinstance(value, str):
        return one_line(value, limits.shown_cell_characters)
    if isinstance(value, bytes):
        limit = limits.shown_cell_characters
        shown = max(1, limit // 2)
        cut = f"...(+{len(value) - shown} bytes)" if len(value) > shown else ""
        return f"x'{value[:shown].hex()}'{cut}"
    return "NULL" if value is None else f"{value}"


def show_table(table: Table, limits: Limits) -> str:
    """Column names, up to ``limits.shown_rows`` rows, and one line that says how many they are.

    The lines above the last have at most ``limits.shown_characters`` in all. A first row that is
    longer is cut, with the cut said; later rows are shown whole or not at all.
    """
    names = [one_line(name, limits.shown_cell_characters) for name in table.columns]
    lines = [_cut(" | ".join(names), limits.shown_characters)]
    room = limits.shown_characters - len(lines[0])
    for row in table.rows[: limits.shown_rows]:
        line = " | ".join([show_cell(value, limits) for value in row])
        if len(lines) == 1 and room > 1:
            line = _cut(line, room - 1)
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    return "\n".join([*lines, _count(table, shown=len(lines) - 1)])


def show_lines(lines: Sequence[str], noun: str, limits: Limits) -> str:
    """Lines of text and one more that says how many they are, as ``(3 tables)``.

    All but the last line have at most ``limits.shown_characters`` in all; a line that would go
    beyond is left out with those after it.
    """
    fitting: list[str] = []
    room = limits.shown_characters
    for line in lines:
        fitting.append(one_line(line, limits.shown_characters))
        room -= len(fitting[-1]) + 1
        if room < 0:
            break
    kept = fitting if room >= 0 else fitting[:-1]
    cut = f"{len(kept)} shown of " if len(kept) < len(lines) else ""
    return "\n".join([*kept, f"({cut}{len(lines)} {noun})"])


def show_error(error: str, limits: Limits) -> str:
    """One line of text, cut like a result."""
    return f"Error: {one_line(error, limits.shown_characters)}"


def _cut(line: str, room: int) -> str:
    """Return `line` in at most `room` characters, the note on the cut included."""
    if len(line) <= room:
        return line
    note = f"...(+{len(line)} characters)"
    kept = max(0, room - len(note))
    return f"{line[:kept]}...(+{len(line) - kept} characters)"[:room]


def _count(table: Table, *, shown: int) -> str:
    total = len(table.rows)
    if not table.complete:
        return f"({shown} rows shown of more than {total})"
    if shown < total:
        return f"({shown} rows shown of {total})"
    return "(1 row)" if total == 1 else f"({total} rows)"

"""Rows of engines with many types as cells of a result, within its bounds."""

from __future__ import annotations

import json
import marshal
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from text2sql_gym.backends.answers import RESULT_BYTES, RESULT_CELLS, Row

_CHUNK_CELLS = 4_096


def fetch(
    fetch_many: Callable[[int], Sequence[Sequence[Any]]], width: int, max_rows: int
) -> tuple[list[Row], bool]:
    """Return at most `max_rows` rows, and whether these are all.

    Fewer when they have more than `RESULT_CELLS` cells or weigh more than `RESULT_BYTES`.
    """
    wanted = min(max_rows, RESULT_CELLS // max(width, 1)) + 1
    rows: list[Row] = []
    weight = 0
    while len(rows) < wanted and weight < RESULT_BYTES:
        asked = min(wanted - len(rows), max(1, _CHUNK_CELLS // max(width, 1)))
        chunk = [tuple([plain(cell) for cell in row]) for row in fetch_many(asked)]
        rows += chunk
        weight += len(marshal.dumps(chunk))
        if len(chunk) < asked:
            return rows, True
    return rows[: wanted - 1], False


def plain(cell: Any) -> None | int | float | str | bytes:
    """Return a value as SQLite would store it.

    Booleans are 0 and 1; exact numbers are integers if they have no fraction digits, else
    floats; times are ISO 8601 text with a blank, as SQLite writes them; the rest is text.
    """
    if cell is None or type(cell) in (int, float, str, bytes):
        return cell  # type: ignore[no-any-return]
    if isinstance(cell, bool):
        return int(cell)
    if isinstance(cell, Decimal):
        whole = cell.is_finite() and cell.as_tuple().exponent == 0
        return int(cell) if whole else float(cell)
    if isinstance(cell, bytearray | memoryview):
        return bytes(cell)
    if isinstance(cell, date | datetime | time | timedelta):
        return str(cell)
    if isinstance(cell, list | dict | tuple):
        return json.dumps(cell, default=plain, ensure_ascii=False)
    return str(cell)

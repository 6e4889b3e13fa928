"""Cells of engines with many types as SQLite would store them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from text2sql_gym.backends.answers import Row


def plain_rows(rows: Iterable[Sequence[Any]]) -> list[Row]:
    """Return rows with every cell `plain`."""
    return [tuple([plain(cell) for cell in row]) for row in rows]


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

"""What running a statement gives, inside a process and between processes. Standard library only."""

from __future__ import annotations

import marshal
from collections.abc import Callable

Row = tuple[None | int | float | str | bytes, ...]
Reads = frozenset[tuple[str, str]]
Answer = tuple[tuple[str, ...], list[Row], bool, Reads]
"""Columns, rows, whether these are all rows, and the (table, column) pairs read."""


RESULT_BYTES = 32_000_000
"""About what the rows of one result may weigh; a larger result is cut."""

RESULT_CELLS = 2_000_000
"""How many cells one result may have; a larger result is cut."""


CHUNK_CELLS = 7_900
"""How many cells are fetched at once. With 4 kB each they still weigh less than `RESULT_BYTES`."""


def fetch(
    fetch_many: Callable[[int], list[Row]],
    width: int,
    max_rows: int,
    *,
    first_cells: int = 64,
    weigh_first: bool = True,
) -> tuple[list[Row], bool]:
    """Return at most `max_rows` rows, and whether these are all.

    Fewer when more would count above `RESULT_CELLS` or weigh above `RESULT_BYTES`. They are fetched
    in chunks that double from `first_cells` on, each weighed before the next; the first is not,
    where the caller knows that it cannot weigh too much.
    """
    wanted = countable(width, max_rows) + 1
    chunk, most = first_cells // (width or 1) or 1, CHUNK_CELLS // (width or 1) or 1
    rows: list[Row] = []
    room = RESULT_BYTES
    while len(rows) < wanted:
        chunk = min(chunk, most, wanted - len(rows))
        fetched = fetch_many(chunk)
        if rows or weigh_first or len(fetched) == chunk < wanted:
            fits, weight = _fitting(fetched, room)
            room -= weight
            if fits < len(fetched):
                return rows + fetched[:fits], False
        rows += fetched
        if len(fetched) < chunk:
            return rows, True
        chunk *= 2
    return rows[: wanted - 1], False


def countable(width: int, max_rows: int) -> int:
    """How many rows of a result are wanted, whatever they weigh."""
    return min(max_rows, RESULT_CELLS // (width or 1))


def _fitting(rows: list[Row], room: int) -> tuple[int, int]:
    """How many of the rows, from the first on, weigh at most `room` bytes, and what these weigh."""
    weight = len(marshal.dumps(rows))
    if weight <= room:
        return len(rows), weight
    weight = 0
    for place, row in enumerate(rows):
        heavier = weight + len(marshal.dumps(row))
        if heavier > room:
            return place, weight
        weight = heavier
    return len(rows), weight


class Refused(Exception):
    """The statement gets no result. `kind` is the value of a `CallOutcome`, or ``"fault"``.

    `repeatable` is False when the same statement may do better another time.
    """

    def __init__(self, kind: str, message: str, *, repeatable: bool = True) -> None:
        super().__init__(message)
        self.kind, self.message, self.repeatable = kind, message, repeatable

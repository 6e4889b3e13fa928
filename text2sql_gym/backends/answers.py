"""What running a statement gives, inside a process and between processes. Standard library only."""

from __future__ import annotations

Row = tuple[None | int | float | str | bytes, ...]
Reads = frozenset[tuple[str, str]]
Answer = tuple[tuple[str, ...], list[Row], bool, Reads]
"""Columns, rows, whether these are all rows, and the (table, column) pairs read."""


RESULT_BYTES = 32_000_000
"""About what the rows of one result may weigh; a larger result is cut."""

RESULT_CELLS = 2_000_000
"""How many cells one result may have; a larger result is cut."""


class Refused(Exception):
    """The statement gets no result. `kind` is the value of a `CallOutcome`, or ``"fault"``.

    `repeatable` is False when the same statement may do better another time.
    """

    def __init__(self, kind: str, message: str, *, repeatable: bool = True) -> None:
        super().__init__(message)
        self.kind, self.message, self.repeatable = kind, message, repeatable

"""Digests of what a turn showed and of what it answered: equal where the results are equal."""

from __future__ import annotations

import hashlib

from text2sql_gym.types import Cell, Row, Turn


def shown_digest(turn: Turn) -> str:
    """A digest of what a call showed: the text, and which tables it was read from.

    The count of one table is not that of another, though both may read ``COUNT(*)`` and 4; where
    the engine does not report what it reads, the text alone decides. "" for a malformed turn and
    for a submission, which show nothing.
    """
    if turn.call is None or turn.result.final:
        return ""
    reads = turn.result.table.reads if turn.result.table else frozenset()
    return _digest(turn.result.text, *sorted({table for table, _ in reads}))


def answer_digest(turn: Turn) -> str:
    """A digest of the rows that a submission returns, in any order; "" for every other turn.

    Names of columns do not count. Numbers are compared to 10 significant digits, integers
    exactly. A submission that fails has no rows and gives "".
    """
    if not turn.result.final or turn.result.table is None:
        return ""
    return _digest(*sorted(map(_row, turn.result.table.rows)))


def state_digest(context_ids: tuple[int, ...]) -> str:
    """A digest of what the policy was last shown: the prompt, or the answer to its last turn.

    GiGPO's anchor: turns after the same answer are taken to be in the same state.
    """
    return _digest(",".join(map(str, context_ids)))


def _row(row: Row) -> str:
    return repr(tuple(map(_canonical, row)))


def _canonical(cell: Cell) -> Cell:
    if not isinstance(cell, float):
        return cell
    return int(cell) if cell.is_integer() else f"{cell:.10g}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]

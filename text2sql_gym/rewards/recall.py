"""Recall: how much of the gold result does a step's own result already show?

Source: FineStep (arXiv 2605.04719) names a recall-based soft reward computed from the results of
intermediate executions. Recall of what is not public: cells (the default), columns, schema items
and progress are our reconstructions. All of them look at this step's result, never at the
outcome. A step that fails or repeats an earlier call earns 0: it shows nothing new.

Known ways to game them: ``SELECT *`` over a small table shows every cell (recall 1), and a useful
look-up of a filter value shows none of the answer (recall 0). `progress` pays each cell once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from text2sql_gym.remembered import by_identity
from text2sql_gym.types import CallOutcome, Cell, Table, ToolResult, Transition

Recall = Callable[[Table, Table], float]

_REMEMBERED_CELLS = 2_000
"""cells of the largest gold result whose canonical cells are remembered"""


def cell_recall(transition: Transition) -> float:
    """Share of the distinct gold cells that stand in this step's result, best over the golds.

    Numbers are compared to 6 significant digits, text trimmed and without case. Range: [0, 1].
    Empty gold: 1 if the step's result is empty too, else 0. No gold: 0.
    """
    return _best(transition.result, transition, _cells_shown)


def column_recall(transition: Transition) -> float:
    """Share of the gold columns whose set of values equals that of a column of this result.

    Range: [0, 1]; degenerate cases as in `cell_recall`.
    """
    return _best(transition.result, transition, _columns_shown)


def schema_recall(transition: Transition) -> float:
    """Share of the (table, column) pairs read by the gold query that this step's query reads too.

    Range: [0, 1]. 0 when the gold query reads no table or the engine does not report reads.
    Gamed by ``SELECT *``; look at it beside `cell_recall`.
    """
    return _best(transition.result, transition, _schema_shared)


def progress_recall(transition: Transition) -> float:
    """`cell_recall` of this step minus the best one of the earlier steps, not below 0.

    Range: [0, 1], and sums to at most 1 over an episode, so that no cell is paid twice.
    """
    before = [_best(turn.result, transition, _cells_shown) for turn in transition.history]
    return max(0.0, cell_recall(transition) - max(before, default=0.0))


def _best(result: ToolResult, transition: Transition, recall: Recall) -> float:
    shown = result.outcome in (CallOutcome.OK, CallOutcome.TRUNCATED)
    if result.table is None or not shown:
        return 0.0
    return max((recall(result.table, gold) for gold in transition.gold), default=0.0)


def _cells_shown(table: Table, gold: Table) -> float:
    small = len(gold.rows) * len(gold.columns) <= _REMEMBERED_CELLS
    wanted = _known_wanted(gold) if small else _Wanted.of(gold)
    if not wanted.cells:
        return float(not table.rows)
    return len(wanted.cells & wanted.candidates(table)) / len(wanted.cells)


@dataclass(frozen=True)
class _Wanted:
    """The distinct cells of a gold result, and between what its numbers lie (nowhere: 1 to 0)."""

    cells: frozenset[Cell]
    low: float
    high: float

    @classmethod
    def of(cls, gold: Table) -> _Wanted:
        cells = frozenset(map(_canonical, chain.from_iterable(gold.rows)))
        numbers = [cell for cell in cells if isinstance(cell, int | float)]
        low, high = min(numbers, default=1.0), max(numbers, default=0.0)
        # a number may have been rounded away from them
        return cls(cells, low - abs(low) * 1e-5, high + abs(high) * 1e-5)

    def candidates(self, table: Table) -> set[Cell]:
        """Cells of `table`; to write a number to 6 digits is slow, so most are left out."""
        return {
            _canonical(cell)
            for cell in set(chain.from_iterable(table.rows))
            if not isinstance(cell, _NUMBER) or not (cell < self.low or cell > self.high)
        }


_NUMBER = (int, float)
_known_wanted = by_identity(1_000)(_Wanted.of)


def _columns_shown(table: Table, gold: Table) -> float:
    if not gold.rows:
        return float(not table.rows)
    shown = {frozenset(map(_canonical, column)) for column in zip(*table.rows, strict=True)}
    wanted = [frozenset(map(_canonical, column)) for column in zip(*gold.rows, strict=True)]
    return sum(column in shown for column in wanted) / len(wanted)


def _schema_shared(table: Table, gold: Table) -> float:
    return len(table.reads & gold.reads) / len(gold.reads) if gold.reads else 0.0


def _canonical(value: Cell) -> Cell:
    if isinstance(value, str):
        return value.strip().lower()
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, int) and -1_000_000 < value < 1_000_000:
        return value  # all of its digits count
    # no two NaN are equal, yet a NaN shown is a NaN found
    return float(f"{value:.6g}") if value == value else "nan"

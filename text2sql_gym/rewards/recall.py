"""Recall: how much of the gold result does a step's own result already show?

FineStep (arXiv 2605.04719) names a recall-based soft reward computed from the results of
intermediate executions. Recall of what is not public: cells (the default of this package),
columns, schema items (`linked_schema`) and progress are our reconstructions. All of them look at
this step's result, never at the outcome. A step that fails or repeats an earlier call earns 0: it
shows nothing new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

from text2sql_gym.remembered import by_identity
from text2sql_gym.rewards.statements import ran
from text2sql_gym.types import Cell, Table, ToolResult, Transition

Recall = Callable[[Table, Table], float]

_REMEMBERED_CELLS = 2_000
"""cells of the largest gold result whose canonical cells are remembered"""


def cell_recall(transition: Transition) -> float:
    """Share of the distinct gold cells that stand in this step's result, best over the golds.

    Numbers are compared to 6 significant digits, text trimmed and without case. Empty gold: 1 if
    the step's result is empty too, else 0. No gold: 0.

    Range: [0, 1].

    Gamed by: ``SELECT *`` over a small table, or a list of guessed constants, which show every
    cell: 1. A useful look-up of a filter value shows none of the answer: 0.

    Source: our reconstruction of FineStep's recall-based reward (arXiv 2605.04719).
    """
    return _best(transition.result, transition, _cells_shown)


def cell_f1(transition: Transition) -> float:
    """Harmonic mean of `cell_recall` and of the share of the shown cells that are gold cells.

    Degenerate cases as in `cell_recall`.

    Range: [0, 1].

    Gamed by: guessed constants that are right: 1. A dump pays little, as most of its cells are
    none of the answer's.

    Source: Think2SQL (arXiv 2504.15077) pays precision and recall of cells; their harmonic mean as
    an answer to dumps is our choice.
    """
    return _best(transition.result, transition, _cells_agreeing)


def column_recall(transition: Transition) -> float:
    """Share of the gold columns whose set of values equals that of a column of this result.

    Degenerate cases as in `cell_recall`.

    Range: [0, 1].

    Gamed by: ``SELECT *`` where the answer is whole columns of a table: 1.

    Source: our reconstruction of FineStep's recall-based reward (arXiv 2605.04719), after the
    column sets of SQL-ASTRA (arXiv 2603.16161), without its factor for precision.
    """
    return _best(transition.result, transition, _columns_shown)


def progress_recall(transition: Transition) -> float:
    """`cell_recall` of this step minus the best one of the earlier steps, not below 0.

    Sums to at most 1 over an episode, so that no cell is paid twice.

    Range: [0, 1].

    Gamed by: one dump of everything: 1, once; repeating it in other words: 0.

    Source: our reconstruction of FineStep's recall-based reward (arXiv 2605.04719), as progress in
    the manner of PAV (arXiv 2410.08146).
    """
    before = [_best(turn.result, transition, _cells_shown) for turn in transition.history]
    return max(0.0, cell_recall(transition) - max(before, default=0.0))


def cells_of(table: Table) -> frozenset[Cell]:
    """The distinct cells of a result, as `cell_recall` compares them."""
    return frozenset(_canonical(value) for row in table.rows for value in row)


def _best(result: ToolResult, transition: Transition, recall: Recall) -> float:
    if result.table is None or not ran(result):
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
    """The distinct cells of a gold result, and between what its numbers lie (nowhere: 1 to 0).

    `texts` says whether any of them is a text.
    """

    cells: frozenset[Cell]
    low: float
    high: float
    texts: bool

    @classmethod
    def of(cls, gold: Table) -> _Wanted:
        cells = frozenset(map(_canonical, chain.from_iterable(gold.rows)))
        numbers = [cell for cell in cells if isinstance(cell, int | float)]
        low, high = min(numbers, default=1.0), max(numbers, default=0.0)
        # a number may have been rounded away from them
        texts = any(isinstance(cell, str) for cell in cells)
        return cls(cells, low - abs(low) * 1e-5, high + abs(high) * 1e-5, texts)

    def candidates(self, table: Table) -> set[Cell]:
        """Cells of `table`; to write a number to 6 digits is slow, so most are left out."""
        low, high = self.low, self.high
        cells: Iterable[Cell] = chain.from_iterable(table.rows)
        if self.texts:
            cells = set(cells)
        else:
            cells = [cell for cell in cells if type(cell) is not str]
        return {
            _canonical(cell)
            for cell in cells
            if not isinstance(cell, _NUMBER) or not (cell < low or cell > high)
        }


_NUMBER = (int, float)
_known_wanted = by_identity(1_000)(_Wanted.of)


def _cells_agreeing(table: Table, gold: Table) -> float:
    """2 |A & B| / (|A| + |B|), which is the harmonic mean of precision and recall."""
    wanted, found = cells_of(gold), cells_of(table)
    if not wanted:
        return float(not table.rows)
    return 2 * len(wanted & found) / (len(wanted) + len(found))


def _columns_shown(table: Table, gold: Table) -> float:
    if not gold.rows:
        return float(not table.rows)
    shown = {frozenset(map(_canonical, column)) for column in zip(*table.rows, strict=True)}
    wanted = [frozenset(map(_canonical, column)) for column in zip(*gold.rows, strict=True)]
    return sum(column in shown for column in wanted) / len(wanted)


def _canonical(value: Cell) -> Cell:
    if isinstance(value, str):
        return value.strip().lower()
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, int) and -1_000_000 < value < 1_000_000:
        return value  # all of its digits count
    # no two NaN are equal, yet a NaN shown is a NaN found
    return float(f"{value:.6g}") if value == value else "nan"

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

from text2sql_gym.types import CallOutcome, Cell, Table, ToolResult, Transition

Recall = Callable[[Table, Table], float]


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
    wanted = {_canonical(value) for row in gold.rows for value in row}
    if not wanted:
        return float(not table.rows)
    found = {_canonical(value) for row in table.rows for value in row}
    return len(wanted & found) / len(wanted)


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
    # no two NaN are equal, yet a NaN shown is a NaN found
    return float(f"{value:.6g}") if value == value else "nan"

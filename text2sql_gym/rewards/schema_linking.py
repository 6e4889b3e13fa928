"""How well a proposed set of tables and columns agrees with the one the gold query needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from text2sql_gym.registry import lookup

Item = TypeVar("Item")

TABLE_WEIGHT = 0.4
COLUMN_WEIGHT = 0.6


@dataclass(frozen=True)
class SchemaItems:
    """Tables, and columns as (table, column) pairs, all in lower case."""

    tables: frozenset[str] = frozenset()
    columns: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(
        cls, tables: Iterable[str] = (), columns: Mapping[str, Iterable[str]] | None = None
    ) -> SchemaItems:
        """Fold case: ``SchemaItems.of(["Shop"], {"Shop": ["ID", "name"]})``."""
        pairs = ((t, c) for t, names in (columns or {}).items() for c in names)
        return cls(
            frozenset(table.lower() for table in tables),
            frozenset((table.lower(), column.lower()) for table, column in pairs),
        )

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[str, str]]) -> SchemaItems:
        """Fold case of (table, column) pairs; (table, "") is a table without a column."""
        folded = {(table.lower(), column.lower()) for table, column in pairs}
        return cls(
            frozenset(table for table, _ in folded), frozenset(pair for pair in folded if pair[1])
        )


@dataclass(frozen=True)
class Overlap:
    """Precision and recall of a proposed set, each in [0, 1]; two empty sets agree fully."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Harmonic mean; 0 when either is 0."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def overlap(proposed: frozenset[Item], gold: frozenset[Item]) -> Overlap:
    """Compare two sets. An empty set against one that is not has precision and recall 0."""
    if not proposed and not gold:
        return Overlap(1.0, 1.0)
    hits = len(proposed & gold)
    return Overlap(hits / len(proposed) if proposed else 0.0, hits / len(gold) if gold else 0.0)


def schema_score(proposed: SchemaItems, gold: SchemaItems, mode: str = "total_match") -> float:
    """Score a proposed schema: 0.4 for its tables and 0.6 for its columns, under one of `MODES`.

    Range: [0, 1]; 1 exactly when both sets agree, under "recall" already when nothing is missing
    and under "precision" when nothing is too much.

    Source: TRUST-SQL, arXiv:2603.16448, reward code. The paper pays "total_match" only for a
    right answer; that gate belongs to the reward that calls this.
    """
    score = lookup(MODES, mode, "schema score")
    return score(overlap(proposed.tables, gold.tables), overlap(proposed.columns, gold.columns))


def _weighted(table: float, column: float) -> float:
    return TABLE_WEIGHT * table + COLUMN_WEIGHT * column


def _total_match(tables: Overlap, columns: Overlap) -> float:
    return float(min(tables.f1, columns.f1) == 1.0)


def _recall_then_precision(tables: Overlap, columns: Overlap) -> float:
    """Nothing while an item is missing, then the share of items that are needed."""
    if min(tables.recall, columns.recall) < 1.0:
        return 0.0
    return _weighted(tables.precision, columns.precision)


def _recall_then_precision_strict(tables: Overlap, columns: Overlap) -> float:
    """As above, in six steps that fall fast."""
    precision = _recall_then_precision(tables, columns)
    steps = [(1.0, 1.0), (0.9, 0.8), (0.8, 0.6), (0.7, 0.4), (0.6, 0.2)]
    if precision == 0.0:
        return 0.0
    return next((paid for least, paid in steps if precision >= least), 0.1)


MODES: dict[str, Callable[[Overlap, Overlap], float]] = {
    "total_match": _total_match,
    "f1": lambda tables, columns: _weighted(tables.f1, columns.f1),
    "precision": lambda tables, columns: _weighted(tables.precision, columns.precision),
    "recall": lambda tables, columns: _weighted(tables.recall, columns.recall),
    "recall_then_precision": _recall_then_precision,
    "recall_then_precision_strict": _recall_then_precision_strict,
}

"""BIRD's official execution accuracy."""

from __future__ import annotations

from dataclasses import dataclass

from text2sql_gym.backends.base import Backend
from text2sql_gym.matching.base import Gold, run_gold
from text2sql_gym.types import Limits, Table


@dataclass(frozen=True)
class BirdEx:
    """1.0 when both results have the same set of rows, else 0.0.

    Ignored: the order of rows, how often a row occurs, column names, the arity of an empty
    result. Counted: the order of columns, every digit of a float. 1 equals 1.0, as in Python.

    Source: bird-bench/mini_dev, evaluation_ex.py (revision 4d970a9a). The official script also
    pays for a comment or a DELETE against an empty gold result; here neither reaches a matcher.
    """

    def prepare(self, sql: str, database: Backend, limits: Limits) -> Gold:
        """Keep the gold rows as a set."""
        table = run_gold(sql, database, limits)
        return Gold(sql, table, frozenset(table.rows))

    def __call__(
        self, sql: str, table: Table, gold: Gold, database: Backend, limits: Limits
    ) -> float:
        """Compare sets of rows; a result that was cut never matches."""
        if not table.complete:
            return 0.0
        return float(table.rows == gold.table.rows or set(table.rows) == gold.prepared)

"""BIRD's official soft F1: partial credit for rows that share cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from text2sql_gym.backends.base import Backend
from text2sql_gym.matching.base import Gold, run_gold
from text2sql_gym.types import Limits, Row, Table


@dataclass(frozen=True)
class SoftF1:
    """F1 of cells, row by row. A metric for evaluation rather than a reward.

    Repeated rows are dropped, then row i of the prediction is compared with row i of the gold:

        tp_i = predicted cells that occur in the gold row      / gold columns
        fp_i = predicted cells that do not                     / gold columns
        fn_i = gold cells that do not occur in the prediction  / gold columns

    A row without a partner has fp or fn = 1. Precision and recall are those of the sums.

    Range: [0, 1]. Both results empty: 1. 1.0 does not mean equal: ``SELECT name, name`` earns it
    for ``SELECT name``, and the right rows in another order than the gold's may earn 0.

    Source: bird-bench/mini_dev, evaluation_f1.py (revision 4d970a9a). Here a result that was cut
    earns 0.
    """

    def prepare(self, sql: str, database: Backend, limits: Limits) -> Gold:
        """Keep the gold rows without repetition, in order."""
        table = run_gold(sql, database, limits)
        return Gold(sql, table, tuple(dict.fromkeys(table.rows)))

    def __call__(
        self, sql: str, table: Table, gold: Gold, database: Backend, limits: Limits
    ) -> float:
        """Score the rows in the order in which they came."""
        if not table.complete:
            return 0.0
        return _f1(tuple(dict.fromkeys(table.rows)), gold.prepared)


def _f1(predicted: Sequence[Row], gold: Sequence[Row]) -> float:
    if not predicted and not gold:
        return 1.0
    paired = [_shares(row, other) for row, other in zip(predicted, gold, strict=False)]
    hit = sum(shares[0] for shares in paired)
    extra = sum(shares[1] for shares in paired) + max(len(predicted) - len(gold), 0)
    missing = sum(shares[2] for shares in paired) + max(len(gold) - len(predicted), 0)
    if hit == 0:
        return 0.0
    precision, recall = hit / (hit + extra), hit / (hit + missing)
    return 2 * precision * recall / (precision + recall)


def _shares(predicted: Row, gold: Row) -> tuple[float, float, float]:
    """Return true positives, false positives and false negatives as shares of the gold columns."""
    if predicted == gold:
        return 1.0, 0.0, 0.0
    hits = sum(cell in gold for cell in predicted)
    misses = sum(cell not in predicted for cell in gold)
    return hits / len(gold), (len(predicted) - hits) / len(gold), misses / len(gold)

"""BIRD's official reward-based valid efficiency score: right, and how fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from text2sql_gym.backends.base import Backend
from text2sql_gym.backends.beside import plain
from text2sql_gym.backends.sqlite import SqliteBackend
from text2sql_gym.errors import ToolError
from text2sql_gym.matching.base import Gold
from text2sql_gym.matching.bird_ex import BirdEx
from text2sql_gym.matching.companions import sqlite_file
from text2sql_gym.types import Limits, Table


@dataclass(frozen=True)
class RVes:
    """0.0 unless the result matches by `BirdEx`; else a score for the prediction's speed.

    Both queries run `iterations` times in turn; with r the mean of (gold time / predicted time),
    without ratios three standard deviations off,

        r >= 2: 1.25     r >= 1: 1.0     r >= 0.5: 0.75     r >= 0.25: 0.5     else: 0.25

    Range: {0, 0.25, 0.5, 0.75, 1, 1.25}. The official figure of a data set is the mean of
    100 * sqrt(score).

    A metric for evaluation on a quiet machine, not a reward: the same query earns 0.75 one time
    and 1 the next, and a constant in place of a query earns 1.25. As the score of an episode,
    right but slow counts as a mismatch.

    Source: bird-bench/mini_dev, evaluation_ves.py (revision 4d970a9a). There the clock also
    covers closing the connection; here it covers the guard. A query that fails or exceeds the
    limits while it is timed scores 0, as there.
    """

    iterations: int = 100
    """how often both queries are timed"""

    def prepare(self, sql: str, database: Backend, limits: Limits) -> Gold:
        """Keep the gold rows as a set."""
        return BirdEx().prepare(sql, database, limits)

    def __call__(
        self, sql: str, table: Table, gold: Gold, database: Backend, limits: Limits
    ) -> float:
        """Compare, then time both queries."""
        if not BirdEx()(sql, table, gold, database, limits):
            return 0.0
        timed = _without_memory(database, limits)
        try:
            ratios = [
                _seconds(gold.sql, timed, limits) / _seconds(sql, timed, limits)
                for _ in range(self.iterations)
            ]
        except ToolError:
            return 0.0
        finally:
            if timed is not plain(database):
                timed.close()
        return efficiency_score(ratios)


def efficiency_score(ratios: Sequence[float]) -> float:
    """Score gold time over predicted time; at least one ratio, all positive.

    Equal ratios have no standard deviation, so the official filter drops all of them and then
    divides by zero; here they are kept.
    """
    mean, spread = float(np.mean(ratios)), 3 * float(np.std(ratios))
    usual = [ratio for ratio in ratios if abs(ratio - mean) < spread] or [mean]
    ratio = float(np.mean(usual))
    for least, score in ((2.0, 1.25), (1.0, 1.0), (0.5, 0.75), (0.25, 0.5)):
        if ratio >= least:
            return score
    return 0.25


def _without_memory(database: Backend, limits: Limits) -> Backend:
    """Return a backend that runs a repeated statement again instead of remembering its result."""
    path = sqlite_file(database.url)
    return plain(database) if path is None else SqliteBackend(path, limits, cached=False)


def _seconds(sql: str, database: Backend, limits: Limits) -> float:
    start = perf_counter()
    database.execute(sql, max_rows=limits.compared_rows)
    return perf_counter() - start

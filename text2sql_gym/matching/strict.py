"""The default rule of training: right is what a careful reader of the question calls right."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from text2sql_gym.backends.base import Backend
from text2sql_gym.matching.base import Gold, run_gold
from text2sql_gym.matching.cells import has_floats, numbers_of, snapped, snapping
from text2sql_gym.matching.ordering import Segment, fits, segment, segments_of
from text2sql_gym.types import Limits, Row, Table


@dataclass(frozen=True)
class Strict:
    """1.0 when the result is the gold result, else 0.0.

    - Rows are a bag: how often a row occurs counts.
    - Their order counts when the gold query orders its output, except among rows whose sort keys
      tie. A LIMIT that cuts a tie accepts any of the tied rows; a LIMIT without ORDER BY, any.
    - Column names do not count, nor does the order of columns: any assignment of columns is
      right that makes the rows equal, and at most `max_arrangements` are tried, the given first.
      The number of columns counts, also in an empty result.
    - Cells: text, blobs and NULL by type, integers exactly, floats up to a relative difference of
      `relative`; see `same_cell`.
    - A prediction that reads no table is wrong when the gold query reads one.
    - A result that was cut never matches.

    The rules follow a study of fifteen published evaluators; the tolerance of nine significant
    digits and the cap on arrangements are choices made here.
    """

    relative: float = 1e-9
    max_arrangements: int = 120

    def prepare(self, sql: str, database: Backend, limits: Limits) -> Gold:
        """Run the gold query, once more where its ORDER BY or LIMIT leaves a choice."""
        table = run_gold(sql, database, limits)
        return Gold(sql, table, segments_of(sql, table, database, limits, self.relative))

    def __call__(
        self, sql: str, table: Table, gold: Gold, database: Backend, limits: Limits
    ) -> float:
        """Compare: equal lists at once, then bags, then tolerance and columns."""
        if not table.complete or _shape(table) != _shape(gold.table):
            return 0.0
        if not _reads_as_required(sql, table, gold):
            return 0.0
        if table.rows == gold.table.rows:
            return 1.0
        return float(self._same_rows(table.rows, gold.prepared))

    def _same_rows(self, rows: tuple[Row, ...], segments: tuple[Segment, ...]) -> bool:
        if fits(rows, segments):
            return True
        gold_rows = tuple(itertools.chain.from_iterable(part.rows for part in segments))
        if has_floats(rows) or has_floats(gold_rows):
            moved = snapping(numbers_of(rows) | numbers_of(gold_rows), self.relative)
            rows = snapped(rows, moved)
            segments = tuple(segment(part.count, snapped(part.rows, moved)) for part in segments)
            gold_rows = snapped(gold_rows, moved)
        return any(
            fits([tuple([row[column] for column in arrangement]) for row in rows], segments)
            for arrangement in self._arrangements(rows, gold_rows)
        )

    def _arrangements(
        self, rows: Sequence[Row], gold_rows: Sequence[Row]
    ) -> Iterator[tuple[int, ...]]:
        """List assignments of columns in which each holds values of its gold column."""
        bags = [Counter(column) for column in zip(*rows, strict=True)]
        choices = [
            [place for place, bag in enumerate(bags) if bag <= gold_bag]
            for gold_bag in map(Counter, zip(*gold_rows, strict=True))
        ]
        return itertools.islice(_assignments(choices, ()), self.max_arrangements)


def _assignments(
    choices: Sequence[Sequence[int]], chosen: tuple[int, ...]
) -> Iterator[tuple[int, ...]]:
    """Take one column from each list of choices, none twice; the given order comes first."""
    place = len(chosen)
    if place == len(choices):
        yield chosen
        return
    for column in sorted(choices[place], key=lambda column: column != place):
        if column not in chosen:
            yield from _assignments(choices, (*chosen, column))


def _shape(table: Table) -> tuple[int, int]:
    return len(table.rows), len(table.columns)


def _reads_as_required(sql: str, table: Table, gold: Gold) -> bool:
    """Refuse an answer that reads no table where the gold query does.

    An engine that reports reads is believed. Where it reports none even for the gold query, both
    texts are parsed; a text that cannot be parsed is given the benefit of the doubt.
    """
    if table.reads:
        return True
    return not gold.table.reads and (_names_a_table(sql) or not _names_a_table(gold.sql))


def _names_a_table(sql: str) -> bool:
    try:
        return sqlglot.parse_one(sql, dialect="sqlite").find(exp.Table) is not None
    except sqlglot.errors.SqlglotError:
        return True

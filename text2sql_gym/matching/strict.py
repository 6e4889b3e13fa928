"""The default rule of training: right is what a careful reader of the question calls right."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from text2sql_gym.backends.base import Backend
from text2sql_gym.errors import GoldError, ToolError
from text2sql_gym.matching.base import Gold, run_gold
from text2sql_gym.matching.cells import cells_of, snapped, snapping
from text2sql_gym.matching.columns import arranged, arrangements
from text2sql_gym.matching.companions import companion, sqlite_file
from text2sql_gym.matching.ordering import Segment, cuts_a_tie, fits, segment, segments_of
from text2sql_gym.matching.variants import variants_of, witness_of
from text2sql_gym.matching.witness import Literals, literals_of
from text2sql_gym.types import Limits, Row, Table

_TRIES = 3  # copies made for one gold query until one gives it rows


@dataclass(frozen=True)
class _Prepared:
    """Groups of tied gold rows, and the gold query on copies of the database, by their number.

    `witness` is the gold query on the copy that was made for it, with what that takes.
    """

    segments: tuple[Segment, ...]
    copies: Mapping[int, Gold]
    witness: tuple[Literals, int, Gold] | None = None


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
    - With `variants` = n, it must also be right on n perturbed copies of an SQLite database, made
      from `seed`; see `variants_of`. A copy counts for a gold query when the query runs there,
      has rows, and does not cut a tie.
    - Where the gold result is empty, every query that finds nothing would be right. It must then
      also be right on a copy that is made for the gold query, on which it finds rows; see
      `witness_of`. With `witness` "always" this holds for every gold query, with "never" for none.
      Where no such copy is found, two empty results are equal.

    The rules follow a study of fifteen published evaluators; the tolerance of nine significant
    digits, the cap on arrangements and the copies are choices made here.
    """

    relative: float = 1e-9
    """largest relative difference of two floats that are equal"""
    max_arrangements: int = 120
    """assignments of columns that are tried"""
    variants: int = 2
    """perturbed copies of the database on which the answer must be right too"""
    seed: int = 0
    """which copies these are"""
    witness: Literal["empty", "always", "never"] = "empty"
    """for which gold queries a copy is made where they find rows: those that find none, or all"""

    def __post_init__(self) -> None:
        if self.witness not in ("empty", "always", "never"):
            raise ValueError(f"witness: expected empty, always or never, got {self.witness!r}")

    def prepare(self, sql: str, database: Backend, limits: Limits) -> Gold:
        """Run the gold query, once more where its ORDER BY or LIMIT leaves a choice."""
        table = run_gold(sql, database, limits)
        segments = segments_of(sql, table, database, limits, self.relative)
        copies = dict(self._golds_on_copies(sql, database, limits)) if table.reads else {}
        asked = {"empty": not table.rows, "always": True, "never": False}[self.witness]
        witness = self._gold_on_witness(sql, database, limits) if asked and table.reads else None
        prepared = _Prepared(segments, copies, witness)
        return Gold(sql, table, prepared, bool(copies or witness))

    def __call__(
        self, sql: str, table: Table, gold: Gold, database: Backend, limits: Limits
    ) -> float:
        """Compare with the gold result, then with the gold result on every copy."""
        looked_up = bool(table.reads) or not gold.table.reads
        if not looked_up or not self._same(table, gold):
            return 0.0
        return float(
            all(
                self._agrees(sql, companion(database, path, limits), copy_gold, limits)
                for path, copy_gold in self._others(gold.prepared, database)
            )
        )

    def _others(self, prepared: _Prepared, database: Backend) -> Iterator[tuple[Path, Gold]]:
        """The other databases on which the gold query has a result to compare with."""
        if prepared.copies:
            copies = self._copies(database)
            yield from ((copies[number], gold) for number, gold in prepared.copies.items())
        if prepared.witness is not None:
            literals, seed, gold = prepared.witness
            yield from ((path, gold) for path in self._witness(database, literals, seed))

    def _copies(self, database: Backend) -> tuple[Path, ...]:
        path = sqlite_file(database.url)
        return variants_of(path, self.variants, self.seed) if path and self.variants else ()

    def _golds_on_copies(
        self, sql: str, database: Backend, limits: Limits
    ) -> Iterator[tuple[int, Gold]]:
        for number, copy in enumerate(self._copies(database)):
            gold = self._gold_on(copy, sql, database, limits)
            if gold is not None:
                yield number, gold

    def _gold_on_witness(
        self, sql: str, database: Backend, limits: Limits
    ) -> tuple[Literals, int, Gold] | None:
        literals = literals_of(sql, database.schema())
        for seed in range(self.seed, self.seed + _TRIES):
            for copy in self._witness(database, literals, seed):
                gold = self._gold_on(copy, sql, database, limits)
                if gold is not None:
                    return literals, seed, gold
        return None

    def _gold_on(self, copy: Path, sql: str, database: Backend, limits: Limits) -> Gold | None:
        """The gold query on a copy; None where that proves nothing."""
        alone = replace(self, variants=0, witness="never")
        try:
            gold = alone.prepare(sql, companion(database, copy, limits), limits)
        except GoldError:  # it runs where it matters
            return None
        usable = gold.table.rows and not cuts_a_tie(gold.prepared.segments)
        return gold if usable else None

    @staticmethod
    def _witness(database: Backend, literals: Literals, seed: int) -> tuple[Path, ...]:
        path = sqlite_file(database.url)
        return witness_of(path, literals, seed) if path else ()

    def _agrees(self, sql: str, copy: Backend, gold: Gold, limits: Limits) -> bool:
        try:
            return self._same(copy.execute(sql, max_rows=limits.compared_rows), gold)
        except ToolError:
            return False

    def _same(self, table: Table, gold: Gold) -> bool:
        """Compare: equal lists at once, then bags, then tolerance and columns."""
        if not table.complete or _shape(table) != _shape(gold.table):
            return False
        segments: tuple[Segment, ...] = gold.prepared.segments
        return (
            table.rows == gold.table.rows
            or fits(table.rows, segments)
            or self._nearly_fits(table.rows, segments)
        )

    def _nearly_fits(self, rows: tuple[Row, ...], segments: tuple[Segment, ...]) -> bool:
        """Compare under the tolerance and every arrangement of columns."""
        gold_rows = tuple(itertools.chain.from_iterable(part.rows for part in segments))
        cells = cells_of(rows) | cells_of(gold_rows)
        if any(isinstance(cell, float) for cell in cells):
            moved = snapping(cells, self.relative)
            if moved:
                rows, gold_rows = snapped(rows, moved), snapped(gold_rows, moved)
                segments = tuple(
                    segment(part.count, snapped(part.rows, moved)) for part in segments
                )
        return any(
            fits(arranged(rows, arrangement), segments)
            for arrangement in arrangements(rows, gold_rows, self.max_arrangements)
        )


def _shape(table: Table) -> tuple[int, int]:
    return len(table.rows), len(table.columns)

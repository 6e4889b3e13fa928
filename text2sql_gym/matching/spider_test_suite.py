"""Spider's official test-suite accuracy: equal results on every database of a folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from text2sql_gym.backends.base import Backend
from text2sql_gym.errors import ToolError
from text2sql_gym.matching.base import Gold, run_gold
from text2sql_gym.matching.columns import arranged, arrangements
from text2sql_gym.matching.companions import companion, sqlite_file
from text2sql_gym.types import Cell, Limits, Row, Table

_SPLIT_OPERATOR = re.compile(r"([<>!]) =")
_CURRENT_YEAR = re.compile(r"YEAR\s*\(\s*CURDATE\s*\(\s*\)\s*\)\s*", re.IGNORECASE)
_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/|\w+|.""", re.DOTALL
)


@dataclass(frozen=True)
class SpiderTestSuite:
    """1.0 when prediction and gold give equal results on every database, else 0.0.

    The official defaults:

    - the word DISTINCT is taken out of both queries, unless `keep_distinct`;
    - rows are a bag, or a list when ``order by`` occurs anywhere in the gold text, also in a
      subquery or a literal; ties and LIMIT leave no choice;
    - columns may be permuted, cells are compared with Python's ``==`` (1 equals 1.0, 0.1 + 0.2
      is not 0.3), two empty results are equal whatever their columns;
    - rows are also compared with their cells sorted as text, which tells (1, 10) from (1.0, 10);
    - ``> =`` is read as ``>=``, and ``YEAR(CURDATE())`` as 2020.

    The databases are the main one and those beside it: all ``*.sqlite`` files of its folder when
    the folder carries its name (``shop/shop.sqlite``, the layout of Spider and of the published
    test suites), or of ``folder/<its name>/`` when `folder` is given.

    A prediction that fails on any of them is wrong; a gold query that does raises `GoldError`.
    At most `max_arrangements` permutations are tried, where the official code tries all.

    Source: Zhong et al. 2020 and taoyds/test-suite-sql-eval, exec_eval.py (revision e97acc5),
    with ``plug_value=False``. The official script also runs the first of several statements, and
    pays for a comment or a DELETE against an empty gold result; neither reaches a matcher here.
    """

    keep_distinct: bool = False
    """leave the word DISTINCT where it stands"""
    folder: str = ""
    """where the databases of a test suite are; "" for beside the main one"""
    max_arrangements: int = 5_040
    """permutations of columns that are tried"""

    def prepare(self, sql: str, database: Backend, limits: Limits) -> Gold:
        """Run the gold query on every database."""
        gold_sql = self._rewritten(sql)
        tables = tuple(
            run_gold(gold_sql, backend, limits) for backend in self._databases(database, limits)
        )
        kept = gold_sql if self.keep_distinct else repaired(sql)
        shown = tables[0] if kept == gold_sql else run_gold(kept, database, limits)
        rows_elsewhere = any(table.rows for table in tables[1:])
        return Gold(sql, shown, (tables, "order by" in gold_sql.lower()), rows_elsewhere)

    def __call__(
        self, sql: str, table: Table, gold: Gold, database: Backend, limits: Limits
    ) -> float:
        """Run the prediction on every database, again on the main one if it was rewritten."""
        tables, ordered = gold.prepared
        rewritten = self._rewritten(sql)
        databases = self._databases(database, limits)
        try:
            for place, (backend, gold_table) in enumerate(zip(databases, tables, strict=True)):
                if place > 0 or rewritten != sql:
                    table = backend.execute(rewritten, max_rows=limits.compared_rows)
                if not table.complete or not self._equal(table.rows, gold_table.rows, ordered):
                    return 0.0
        except ToolError:  # the official rule: a query that fails on one database is wrong
            return 0.0
        return 1.0

    def _rewritten(self, sql: str) -> str:
        sql = repaired(sql)
        return sql if self.keep_distinct else without_distinct(sql)

    def _databases(self, database: Backend, limits: Limits) -> Iterator[Backend]:
        yield database
        for path in _neighbours(database.url, self.folder):
            yield companion(database, path, limits)

    def _equal(self, rows: Sequence[Row], gold: Sequence[Row], ordered: bool) -> bool:
        if not rows or not gold:
            return not rows and not gold
        if len(rows) != len(gold) or len(rows[0]) != len(gold[0]):
            return False
        equal = any(
            _same_rows(arranged(rows, arrangement), gold, ordered)
            for arrangement in arrangements(rows, gold, self.max_arrangements)
        )
        # where cells are equal and of one type, the text of the rows is the same
        return equal and (not _has_whole_floats(rows, gold) or _same_text(rows, gold, ordered))


def repaired(sql: str) -> str:
    """Join split comparison operators and fix the current year, as the official script does."""
    return _CURRENT_YEAR.sub("2020", _SPLIT_OPERATOR.sub(r"\1=", sql))


def without_distinct(sql: str) -> str:
    """Take out every keyword DISTINCT; quoted text and comments stay as they are."""
    return "".join(token for token in _TOKEN.findall(sql) if token.lower() != "distinct")


def _same_rows(rows: list[Row], gold: Sequence[Row], ordered: bool) -> bool:
    return rows == list(gold) if ordered else dict(Counter(rows)) == dict(Counter(gold))


def _has_whole_floats(*tables: Sequence[Row]) -> bool:
    return any(
        isinstance(cell, float) and cell.is_integer()
        for rows in tables
        for row in rows
        for cell in row
    )


def _same_text(rows: Sequence[Row], gold: Sequence[Row], ordered: bool) -> bool:
    """Compare rows with their cells sorted by text and type, as the official quick check does."""
    one, other = [list(map(_unordered, table)) for table in (rows, gold)]
    return one == other if ordered else set(one) == set(other)


def _unordered(row: Row) -> Row:
    return tuple(sorted(row, key=_text_and_type))


def _text_and_type(cell: Cell) -> str:
    return f"{cell!s}{type(cell)}"


def _neighbours(url: str, folder: str) -> list[Path]:
    """List the other databases in a fixed order; none for an engine without files."""
    path = sqlite_file(url)
    if path is None:
        return []
    if not folder and path.parent.name != path.stem:
        return []
    siblings = Path(folder) / path.stem if folder else path.parent
    main = path.resolve()
    return [other for other in sorted(siblings.glob("*.sqlite")) if other.resolve() != main]

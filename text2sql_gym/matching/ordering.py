"""Which orders of the gold rows are right, and which rows a LIMIT may choose."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from text2sql_gym.backends.base import Backend
from text2sql_gym.errors import ToolError
from text2sql_gym.matching.cells import same_cell
from text2sql_gym.sql_text import dialect_of
from text2sql_gym.types import Limits, Row, Table

_ORDER_OR_LIMIT = re.compile(r"\border\s+by\b|\blimit\b|\bfetch\b", re.IGNORECASE)
_GROWTH = 8  # how much more of a result is fetched while the tie at a LIMIT has no end in sight


@dataclass(frozen=True)
class Segment:
    """`count` consecutive rows of a right answer: any members of `rows`, in any order.

    A tie that a LIMIT cuts has more rows than `count`. `bag` says how often each row occurs; it
    is empty for a single row, where counting is not worth its memory.
    """

    count: int
    rows: tuple[Row, ...]
    bag: dict[Row, int]

    def admits(self, chunk: Sequence[Row]) -> bool:
        """Say whether `count` rows of a prediction belong here."""
        if not self.bag:
            return chunk[0] == self.rows[0]
        found = dict(Counter(chunk))
        if self.count == len(self.rows):
            return found == self.bag
        return all(times <= self.bag.get(row, 0) for row, times in found.items())


def segment(count: int, rows: Sequence[Row]) -> Segment:
    """Build a `Segment`."""
    return Segment(count, tuple(rows), dict(Counter(rows)) if len(rows) > 1 else {})


def fits(rows: Sequence[Row], segments: Sequence[Segment]) -> bool:
    """Say whether `rows` are a right answer. Their number must be the sum of all counts."""
    start = 0
    for part in segments:
        if not part.admits(rows[start : start + part.count]):
            return False
        start += part.count
    return True


def cuts_a_tie(segments: Sequence[Segment]) -> bool:
    """Say whether a LIMIT leaves some of the rows out that tie with its last ones."""
    return any(part.count < len(part.rows) for part in segments)


def segments_of(
    sql: str, table: Table, database: Backend, limits: Limits, relative: float
) -> tuple[Segment, ...]:
    """Split a gold result into groups of tied rows.

    - No ORDER BY at the top level: one group of all rows (a bag). An ORDER BY inside a subquery,
      a CTE or a literal asks for nothing.
    - ORDER BY: one group per set of equal sort keys, which are fetched with the rows when the
      query does not select them.
    - LIMIT: the group it cuts holds all rows that tie there; without ORDER BY, all rows.

    Where the sort keys cannot be had (DISTINCT sorted by what is not selected, a set operation
    sorted by an expression, a query sqlglot cannot read) the gold rows are taken as the only
    right order: stricter there, never laxer. The same holds for a tie that is only one under a
    collation the schema declares.
    """
    if not table.rows:
        return ()
    if _ORDER_OR_LIMIT.search(sql) is None:
        return (segment(len(table.rows), table.rows),)
    dialect = dialect_of(database.url)
    # inside an expression SQLite takes a name for a column first, and only then for an alias
    for aliases in (False, True):
        try:
            query = _Query.parse(sql, table, dialect, aliases=aliases)
            found = None if query is None else query.segments(table, database, limits, relative)
        except sqlglot.errors.SqlglotError:
            break
        except ToolError:
            continue
        if found and fits(table.rows, found):
            return found
        break  # the query cannot be read, or was read wrongly: its own rows do not fit
    return tuple(segment(1, (row,)) for row in table.rows)


@dataclass(frozen=True)
class _Query:
    """A parsed gold query: where each sort key stands, and the window that LIMIT cuts out."""

    keyed: exp.Query  # without LIMIT, selecting the missing sort keys as well
    keys: tuple[int, ...]  # columns of `keyed` to sort by
    folds: tuple[bool, ...]  # whether that key is compared without case
    offset: int
    limited: bool
    dialect: str

    @staticmethod
    def parse(sql: str, table: Table, dialect: str, *, aliases: bool) -> _Query | None:
        """Return None where the sort keys cannot be had."""
        tree = sqlglot.parse_one(sql, dialect=dialect)
        if not isinstance(tree, exp.Query):
            return None
        keyed = tree.copy()
        offset = _whole_number(tree.args.get("offset"))
        places = _places(keyed, len(table.columns), aliases=aliases)
        if places is None or offset is None:
            return None
        limited = tree.args.get("limit") is not None
        keyed.set("limit", None)
        keyed.set("offset", None)
        order = tree.args.get("order")
        folds = tuple(_ignores_case(term) for term in order.expressions) if order else ()
        return _Query(keyed, places, folds, offset, limited, dialect)

    def segments(
        self, table: Table, database: Backend, limits: Limits, relative: float
    ) -> tuple[Segment, ...]:
        width = len(table.columns)
        if not self.limited and all(key < width for key in self.keys):
            groups = list(self._groups(table.rows, relative))
        else:
            groups = self._fetched(len(table.rows), database, limits, relative)
        return tuple(self._window(groups, width, len(table.rows)))

    def _fetched(
        self, count: int, database: Backend, limits: Limits, relative: float
    ) -> list[list[Row]]:
        """Fetch rows with their keys until the last wanted row and all its ties are there."""
        end = self.offset + count
        asked = end + 1 if self.limited else limits.compared_rows
        while True:
            asked = min(asked, max(end, limits.compared_rows))
            query = self.keyed.limit(asked + 1) if self.limited else self.keyed
            found = database.execute(query.sql(dialect=self.dialect), max_rows=asked)
            groups = list(self._groups(found.rows, relative))
            tie_ends = found.complete or len(found.rows) - len(groups[-1]) >= end
            if tie_ends or asked >= limits.compared_rows:
                return groups
            asked *= _GROWTH

    def _groups(self, rows: Sequence[Row], relative: float) -> Iterator[list[Row]]:
        """Split sorted rows where a sort key changes by more than rounding noise."""
        group: list[Row] = []
        for row in rows:
            if group and not self._tied(group[-1], row, relative):
                yield group
                group = []
            group.append(row)
        if group:
            yield group

    def _tied(self, one: Row, other: Row, relative: float) -> bool:
        for key, fold in zip(self.keys, self.folds, strict=True):
            left, right = one[key], other[key]
            if fold and isinstance(left, str) and isinstance(right, str):
                left, right = left.lower(), right.lower()
            if not same_cell(left, right, relative):
                return False
        return True

    def _window(self, groups: Sequence[list[Row]], width: int, count: int) -> Iterator[Segment]:
        """Cut the rows from `offset` on out of the groups, without their keys."""
        ends = itertools.accumulate(len(group) for group in groups)
        for group, end in zip(groups, ends, strict=True):
            start = max(end - len(group), self.offset)
            inside = min(end, self.offset + count) - start
            if inside > 0:
                yield segment(inside, [row[:width] for row in group])


def _whole_number(clause: exp.Expression | None) -> int | None:
    """Return the value of an OFFSET clause, 0 without one, None for an expression."""
    if clause is None:
        return 0
    value = clause.expression
    return int(value.name) if isinstance(value, exp.Literal) and value.is_int else None


def _ignores_case(term: exp.Ordered) -> bool:
    collation = term.this
    return isinstance(collation, exp.Collate) and collation.expression.name.upper() == "NOCASE"


def _places(query: exp.Query, width: int, *, aliases: bool) -> tuple[int, ...] | None:
    """Find every sort key among the selected columns, or select it after them.

    SQLite reads a term of ORDER BY as a column number, else as an alias, else as an expression;
    keys are added to `query` in place. None where adding one would change the result.
    """
    order = query.args.get("order")
    places: list[int] = []
    for term in order.expressions if order else ():
        place = _selected(term.this, query, width)
        if place is None:
            place = _appended(term.this, query, width, aliases=aliases)
        if place is None:
            return None
        places.append(place)
    return tuple(places)


def _selected(key: exp.Expression, query: exp.Query, width: int) -> int | None:
    """Return the column that a sort key names by number, by alias or by repeating it."""
    if isinstance(key, exp.Collate):
        key = key.this
    if isinstance(key, exp.Literal) and key.is_int:
        return int(key.name) - 1
    columns = query.selects[:width]
    if any(column.is_star for column in columns):
        return None
    bare = isinstance(key, exp.Column) and not key.table
    for place, column in enumerate(columns):
        named = isinstance(column, exp.Alias) or isinstance(query, exp.SetOperation)
        if bare and named and column.alias_or_name.lower() == key.name.lower():
            return place
    plain = [column.unalias() for column in columns]
    return plain.index(key) if key in plain else None


def _appended(key: exp.Expression, query: exp.Query, width: int, *, aliases: bool) -> int | None:
    """Select a key after the other columns; with `aliases`, spell out those it mentions."""
    if not isinstance(query, exp.Select) or query.args.get("distinct"):
        return None
    meanings = {
        column.alias.lower(): column.this
        for column in query.selects[:width]
        if isinstance(column, exp.Alias)
    }

    def spell_out(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Column) or node.table or node.name.lower() not in meanings:
            return node
        # in quotes, SQLite would take a name that is no column for a text
        return meanings[node.name.lower()].copy() if aliases or node.this.quoted else node

    place = width + sum(1 for column in query.selects if column.alias.startswith("sort_key_"))
    query.select(exp.alias_(key.copy().transform(spell_out), f"sort_key_{place}"), copy=False)
    return place

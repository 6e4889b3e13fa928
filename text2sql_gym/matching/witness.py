"""What a query compares its columns with, so that a database can be made on which it finds rows."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, traverse_scope

from text2sql_gym.matching.perturb import Database, Relation
from text2sql_gym.types import Cell, Schema

Literals = tuple[tuple[str, str, Cell], ...]
"""(table, column, value), names in lower case; a query compares that column with that value."""

_PLANTED = 0.6  # share of rows that get values the query looks for
_FILLED = 12  # rows that an empty table gets
_WRAPPERS = (exp.Paren, exp.Func, exp.Collate)  # between a column and what it is compared with
_ANY = 7  # fits a column of any type
_YEAR = re.compile(r"\d{4}(-\d\d)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def literals_of(sql: str, schema: Schema) -> Literals:
    """Return the comparisons of columns with literals in a query for SQLite, in a fixed order.

    Beside a number stand its neighbours, beside a date one before and one after it, and a pattern
    becomes a text that it matches. A column to group by, or one that an INTERSECT shows, is
    compared with one arbitrary value, so that many rows have it. A name in double quotes that is
    no column is a text, as in SQLite. Empty for a query that sqlglot cannot read.
    """
    tables: dict[str, object] = {
        table.name: {column.name: column.type for column in table.columns} for table in schema
    }
    columns = {column.name.lower() for table in schema for column in table.columns}
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite").transform(_as_text, columns)
        tree = qualify(tree, schema=tables, dialect="sqlite", validate_qualify_columns=False)
        found = {one for scope in traverse_scope(tree) for one in _of_scope(scope)}
    except (SqlglotError, RecursionError):
        return ()
    return tuple(sorted(found, key=repr))


def _as_text(node: exp.Expr, columns: set[str]) -> exp.Expr:
    """A literal in place of a quoted name that is no column."""
    bare = isinstance(node, exp.Column) and not node.table and node.this.args.get("quoted")
    unknown = bare and node.name.lower() not in columns
    return exp.Literal.string(node.name) if unknown else node


def _of_scope(scope: Scope) -> Iterator[tuple[str, str, Cell]]:
    for column in scope.columns:
        source = scope.sources.get(column.table)
        if isinstance(source, exp.Table):
            for value in _compared_with(column):
                yield source.name.lower(), column.name.lower(), value


def _compared_with(column: exp.Expr) -> Iterator[Cell]:
    """The values that make a comparison of the column true, or just not."""
    if isinstance(column.parent, exp.Group) or _is_intersected(column):
        yield _ANY
    node = column
    while isinstance(node.parent, _WRAPPERS):
        node = node.parent
    comparison = node.parent
    if isinstance(comparison, exp.Is):
        yield None
    if not isinstance(comparison, exp.Binary | exp.Between | exp.In):
        return
    pattern = isinstance(comparison, exp.Like | exp.ILike | exp.Glob)
    for operand in comparison.iter_expressions():
        if operand is not node:
            value = _value(operand)
            yield from _near(value, pattern=pattern, wrapped=node is not column)


def _is_intersected(column: exp.Expr) -> bool:
    shown = column.parent.parent if isinstance(column.parent, exp.Alias) else column.parent
    return isinstance(shown, exp.Select) and isinstance(shown.parent, exp.Intersect)


def _value(operand: exp.Expr) -> Cell:
    """The value of a literal, else None."""
    negative = isinstance(operand, exp.Neg)
    literal = operand.this if negative else operand
    if not isinstance(literal, exp.Literal):
        return None
    if literal.is_string:
        return str(literal.this)
    number = float(literal.this)
    number = -number if negative else number
    return int(number) if number.is_integer() else number


def _near(value: Cell, *, pattern: bool, wrapped: bool) -> Iterator[Cell]:
    if isinstance(value, int | float):
        yield from (value, value + 1, value - 1)
    if not isinstance(value, str):
        return
    if wrapped and _YEAR.fullmatch(value):  # strftime('%Y', day) = '2010'
        yield f"{value}-06-15"[:10] if len(value) == 4 else f"{value}-15"
    if _DATE.match(value):
        yield from ("1001-01-01", "9001-01-01")
    yield value.replace("%", "").replace("*", "").replace("_", "a") if pattern else value


def filled(database: Database) -> dict[str, Relation]:
    """Give every empty table some rows of plain values by the types of its columns."""
    return {
        name: table if table.rows else replace(table, rows=tuple(_made_up(table)))
        for name, table in database.items()
    }


def _made_up(table: Relation) -> Iterator[tuple[Cell, ...]]:
    for number in range(1, _FILLED + 1):
        yield tuple(
            _plain(kind.upper(), name, number)
            for name, kind in zip(table.columns, table.types, strict=True)
        )


def _plain(kind: str, name: str, number: int) -> Cell:
    if "INT" in kind:
        return number
    if any(part in kind for part in ("REAL", "FLOA", "DOUB", "NUM", "DEC")):
        return number + 0.5
    return f"2010-01-{number:02}" if "DATE" in kind else f"{name} {number}"


def planted(table: Relation, literals: Literals, rng: random.Random) -> Relation:
    """Put the values that a query looks for into many rows, several columns at once.

    A column without repetition holds each of them once at most.
    """
    wanted = _by_place(table, literals)
    unique = {key[0] for key in table.keys if len(key) == 1}
    rows = [list(row) for row in table.rows]
    for row in rows:
        if rng.random() < _PLANTED:
            for place in sorted(wanted.keys() - unique):
                row[place] = rng.choice(wanted[place])
    for place in sorted(wanted.keys() & unique):
        values = [value for value in wanted[place] if value not in table.column(place)]
        for row, value in zip(rng.sample(rows, len(rows)), values, strict=False):
            row[place] = value
    return replace(table, rows=tuple(map(tuple, rows)))


def _by_place(table: Relation, literals: Literals) -> Mapping[int, Sequence[Cell]]:
    places = {name.lower(): place for place, name in enumerate(table.columns)}
    found: dict[int, list[Cell]] = {}
    for owner, column, value in literals:
        if owner == table.name.lower() and column in places:
            found.setdefault(places[column], []).append(value)
    return found


def through_references(database: Database, literals: Literals) -> Literals:
    """Add the keys that a looked-for reference needs on its other side."""
    known = set(literals)
    for name, table in database.items():
        for reference in (one for one in table.references if len(one.columns) == 1):
            column = table.columns[reference.columns[0]].lower()
            target = database[reference.target].columns[reference.target_columns[0]].lower()
            known |= {
                (reference.target, target, value)
                for owner, place, value in literals
                if (owner, place) == (name, column) and value is not None
            }
    return tuple(sorted(known, key=repr))

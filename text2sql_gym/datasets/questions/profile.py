"""What the question generator knows of a database: roles of columns, links, values."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from text2sql_gym.datasets.wording import identifier, spoken_forms

Spoken = Mapping[tuple[str, str], Mapping[str, str]]
"""For each (table, column) whose values are stored otherwise than said: stored value to spoken."""

_MAX_CATEGORIES = 24
_MAX_VALUES = 500
_NUMBERED = 6  # rows from which on numbers without a gap are taken for row numbers
_MAX_VALUE_CHARACTERS = 40
_LABEL = re.compile("phone|fax|zip|post", re.IGNORECASE)  # digits that measure nothing
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T][\d:.]+)?\Z")


class Role(StrEnum):
    """What a column is good for in a question."""

    KEY = "key"  # primary or foreign key: used in joins, never asked for
    NAME = "name"  # text, different in every row
    CATEGORY = "category"  # text, few values, some repeated
    TEXT = "text"  # other text: shown, never compared with
    NUMBER = "number"
    YEAR = "year"  # whole numbers from 1500 to 2100: compared and ordered, never summed
    DATE = "date"  # text in ISO form
    OTHER = "other"  # not asked about: long, mixed, binary or empty


@dataclass(frozen=True)
class ColumnProfile:
    """One column.

    `values` are its distinct values in rising order: all of a category, at most 500, evenly
    spread, of other roles, none of `Role.KEY` and `Role.OTHER`. `spoken` says how a question calls
    each stored value, `quotable` whether it may also spell it as stored, in quotes. `complete` is
    False with a NULL among the rows.
    """

    table: str
    name: str
    role: Role
    values: tuple[str | int | float, ...] = ()
    spoken: Mapping[str, str] = field(default_factory=dict)
    quotable: bool = True
    complete: bool = True


@dataclass(frozen=True)
class TableProfile:
    """One table with its columns in declared order."""

    name: str
    columns: tuple[ColumnProfile, ...]
    rows: int


@dataclass(frozen=True)
class Link:
    """``child.column`` refers to ``parent.target``: each row of the child to one of the parent."""

    child: str
    column: str
    parent: str
    target: str


@dataclass(frozen=True)
class DatabaseProfile:
    """All that questions are made from: the tables that have rows, and the links between them."""

    tables: tuple[TableProfile, ...]
    links: tuple[Link, ...]

    def table(self, name: str) -> TableProfile:
        """Return the table of that name; raises KeyError."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)


def profile_database(
    connection: sqlite3.Connection, spoken: Spoken | None = None
) -> DatabaseProfile:
    """Profile every table that has rows.

    With `spoken`, the values in it are never spelt as stored. Without, what a question calls a
    value is read from its spelling (see `spoken_forms`), and questions may spell it either way.
    """
    names = [
        str(name)
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' "
            "AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        )
    ]
    declared = [link for name in names for link in _declared(connection, name, names)]
    tables = [_table(connection, name, declared, spoken) for name in names]
    filled = tuple(table for table in tables if table.rows > 0)
    known = {table.name for table in filled}
    links = tuple(
        link
        for link in declared
        if {link.child, link.parent} <= known and _is_total(connection, link)
    )
    return DatabaseProfile(filled, links)


def _declared(connection: sqlite3.Connection, table: str, names: list[str]) -> list[Link]:
    """Return the one-column foreign keys to other tables, in the target's own spelling."""
    spelling = {name.lower(): name for name in names}
    links: list[Link] = []
    rows = connection.execute(f"PRAGMA foreign_key_list({identifier(table)})").fetchall()
    composite = {row[0] for row in rows if row[1] > 0}
    for number, _, parent, column, target, *_ in rows:
        parent = spelling.get(str(parent).lower())
        if number in composite or parent is None or parent == table:
            continue
        target = target or _primary_key(connection, parent)
        if target:
            links.append(Link(table, str(column), parent, str(target)))
    return sorted(links, key=lambda link: (link.parent, link.column))


def _primary_key(connection: sqlite3.Connection, table: str) -> str | None:
    rows = connection.execute(f"PRAGMA table_info({identifier(table)})").fetchall()
    keys = [str(row[1]) for row in rows if row[5]]
    return keys[0] if len(keys) == 1 else None


def _is_total(connection: sqlite3.Connection, link: Link) -> bool:
    """Return whether every row of the child has exactly one row of the parent.

    Where it has none, or several, a reader may count it or not: no question is asked then.
    """
    parent, target = identifier(link.parent), identifier(link.target)
    child, column = identifier(link.child), identifier(link.column)
    try:
        total, distinct = connection.execute(
            f"SELECT COUNT(*), COUNT(DISTINCT {target}) FROM {parent}"
        ).fetchone()
        (lost,) = connection.execute(
            f"SELECT COUNT(*) FROM {child} WHERE {column} IS NULL "
            f"OR {column} NOT IN (SELECT {target} FROM {parent} WHERE {target} IS NOT NULL)"
        ).fetchone()
    except sqlite3.OperationalError:  # a declared key names a column that does not exist
        return False
    return bool(total == distinct and lost == 0)


def _table(
    connection: sqlite3.Connection, name: str, links: list[Link], spoken: Spoken | None
) -> TableProfile:
    rows = int(connection.execute(f"SELECT COUNT(*) FROM {identifier(name)}").fetchone()[0])
    references = connection.execute(f"PRAGMA foreign_key_list({identifier(name)})").fetchall()
    keys = {str(reference[3]).lower() for reference in references}  # also to its own table
    keys |= {link.target.lower() for link in links if link.parent == name}
    columns = []
    for row in connection.execute(f"PRAGMA table_info({identifier(name)})").fetchall():
        column, primary = str(row[1]), bool(row[5])
        if primary or column.lower() in keys or _named_as_key(column):
            columns.append(ColumnProfile(name, column, Role.KEY))
        else:
            columns.append(_column(connection, name, column, rows, spoken))
    return TableProfile(name, tuple(columns), rows)


def _named_as_key(column: str) -> bool:
    return re.search(r"(\A|_)[iI][dD]\Z|[a-z]I[dD]\Z", column) is not None


def _column(
    connection: sqlite3.Connection, table: str, name: str, rows: int, spoken: Spoken | None
) -> ColumnProfile:
    """Give a column its role from the types and the values in it."""
    column, source = identifier(name), identifier(table)
    found = connection.execute(f"SELECT typeof({column}), COUNT(*) FROM {source} GROUP BY 1")
    types = dict(found.fetchall())
    missing = types.pop("null", 0)
    values = [
        value
        for (value,) in connection.execute(
            f"SELECT DISTINCT {column} FROM {source} WHERE {column} IS NOT NULL ORDER BY 1"
        )
    ]
    role = _role(set(types), values, rows - missing)
    if role is Role.NUMBER and _LABEL.search(name):
        role = Role.OTHER
    if role in (Role.KEY, Role.OTHER):
        return ColumnProfile(table, name, role)
    kept = tuple(values[:: 1 + len(values) // _MAX_VALUES])
    said: Mapping[str, str] = {}
    if spoken is not None:
        said = spoken.get((table, name), {})
    elif role in (Role.NAME, Role.CATEGORY):
        said = spoken_forms([str(value) for value in kept])
    quotable = spoken is None or not said
    return ColumnProfile(table, name, role, kept, said, quotable, complete=missing == 0)


def _role(types: set[str], values: list[object], filled: int) -> Role:
    if types and types <= {"integer", "real"}:
        if _counts_up(values, filled):
            return Role.KEY
        whole = all(isinstance(value, int) and 1500 <= value <= 2100 for value in values)
        return Role.YEAR if whole else Role.NUMBER
    if types != {"text"} or not all(_speakable(str(value)) for value in values):
        return Role.OTHER
    if all(_ISO_DATE.match(str(value)) for value in values):
        return Role.DATE
    if len(values) == filled:
        return Role.NAME
    if len(values) < 2:
        return Role.OTHER
    return Role.CATEGORY if len(values) <= min(_MAX_CATEGORIES, filled // 2) else Role.TEXT


def _counts_up(values: list[object], filled: int) -> bool:
    """Whether a column numbers its rows: whole numbers, each once, without a gap."""
    whole = [value for value in values if isinstance(value, int)]
    if len(whole) < _NUMBERED or len(whole) != filled:
        return False
    return whole[-1] - whole[0] == filled - 1


def _speakable(value: str) -> bool:
    plain = value.strip() == value and value.isprintable() and '"' not in value
    return plain and 0 < len(value) <= _MAX_VALUE_CHARACTERS and "\ufffd" not in value

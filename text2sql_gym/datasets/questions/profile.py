"""What the question generator knows of a database: roles of columns, links, values."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from text2sql_gym.datasets.wording import identifier

_MAX_CATEGORIES = 24
_MAX_VALUE_CHARACTERS = 40
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([ T][\d:.]+)?\Z")


class Role(StrEnum):
    """What a column is good for in a question."""

    KEY = "key"  # primary or foreign key: used in joins, never asked for
    NAME = "name"  # text, different in every row
    CATEGORY = "category"  # text, few values, each repeated
    NUMBER = "number"
    YEAR = "year"  # whole numbers from 1500 to 2100: compared and ordered, never summed
    DATE = "date"  # text in ISO form
    OTHER = "other"  # not asked about: long, empty, binary or mixed


@dataclass(frozen=True)
class ColumnProfile:
    """One column. `values` are the distinct values, sorted; empty for `Role.OTHER`.

    `spoken` says how a question calls each stored value; empty when that is as stored.
    """

    table: str
    name: str
    role: Role
    values: tuple[str | int | float, ...] = ()
    spoken: Mapping[str, str] = field(default_factory=dict)

    @property
    def coded(self) -> bool:
        """Whether the values are stored otherwise than a question says them."""
        return bool(self.spoken)


@dataclass(frozen=True)
class TableProfile:
    """One table with its columns in declared order."""

    name: str
    columns: tuple[ColumnProfile, ...]
    rows: int


@dataclass(frozen=True)
class Link:
    """``child.column`` refers to ``parent.target``."""

    child: str
    column: str
    parent: str
    target: str


@dataclass(frozen=True)
class DatabaseProfile:
    """All that questions are made from."""

    tables: tuple[TableProfile, ...]
    links: tuple[Link, ...]

    def table(self, name: str) -> TableProfile:
        """Return the table of that name; raises KeyError."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)


def profile_database(
    connection: sqlite3.Connection,
    spoken: Mapping[tuple[str, str], Mapping[str, str]],
) -> DatabaseProfile:
    """Profile every table that has rows; `spoken` is keyed by (table, column)."""
    names = [
        str(name)
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' "
            "AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        )
    ]
    links = [link for name in names for link in _links(connection, name, names)]
    tables = [_table(connection, name, links, spoken) for name in names]
    return DatabaseProfile(tuple(table for table in tables if table.rows > 0), tuple(links))


def _links(connection: sqlite3.Connection, table: str, names: list[str]) -> list[Link]:
    """Return declared one-column foreign keys, with the target's own spelling."""
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


def _table(
    connection: sqlite3.Connection,
    name: str,
    links: list[Link],
    spoken: Mapping[tuple[str, str], Mapping[str, str]],
) -> TableProfile:
    rows = int(connection.execute(f"SELECT COUNT(*) FROM {identifier(name)}").fetchone()[0])
    keys = {link.column.lower() for link in links if link.child == name}
    keys |= {link.target.lower() for link in links if link.parent == name}
    columns = []
    for _, column, _, _, _, primary in connection.execute(f"PRAGMA table_info({identifier(name)})"):
        if primary or column.lower() in keys:
            columns.append(ColumnProfile(name, column, Role.KEY))
            continue
        said = spoken.get((name, column), {})
        columns.append(_column(connection, name, column, rows, said))
    return TableProfile(name, tuple(columns), rows)


def _column(
    connection: sqlite3.Connection, table: str, column: str, rows: int, spoken: Mapping[str, str]
) -> ColumnProfile:
    """Give a column its role from its values; a column with a NULL is `Role.OTHER`."""
    quoted = identifier(column)
    found = connection.execute(f"SELECT {quoted} FROM {identifier(table)}").fetchall()
    values = [value for (value,) in found]
    role = _role(values, rows)
    if role is Role.OTHER:
        return ColumnProfile(table, column, role)
    return ColumnProfile(table, column, role, tuple(sorted(set(values))), spoken)


def _role(values: list[object], rows: int) -> Role:
    if all(isinstance(value, int) and 1500 <= value <= 2100 for value in values):
        return Role.YEAR
    if all(isinstance(value, int | float) for value in values):
        return Role.NUMBER
    if not all(isinstance(value, str) and _speakable(value) for value in values):
        return Role.OTHER
    if all(_ISO_DATE.match(str(value)) for value in values):
        return Role.DATE
    distinct = len(set(values))
    if distinct == rows:
        return Role.NAME
    return Role.CATEGORY if 2 <= distinct <= min(_MAX_CATEGORIES, rows // 2) else Role.OTHER


def _speakable(value: str) -> bool:
    return value.strip() == value and 0 < len(value) <= _MAX_VALUE_CHARACTERS and "\n" not in value

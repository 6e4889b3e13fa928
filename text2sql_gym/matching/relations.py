"""Read an SQLite database into memory, with what holds between its tables."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from text2sql_gym.matching.perturb import Reference, Relation
from text2sql_gym.sql_text import delimited
from text2sql_gym.types import Row

_SAMPLED = 1_000  # rows read of a table; a copy of a large database is a small one


def load(path: Path) -> tuple[list[str], dict[str, Relation]]:
    """Return the statements that make the schema, and the tables by lower-case name.

    Triggers are left out. Raises `sqlite3.Error` when the file is no database.
    """
    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.text_factory = lambda text: text.decode(errors="replace")
        made = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type <> 'trigger'"
            " AND substr(name, 1, 7) <> 'sqlite_' ORDER BY type <> 'table', rowid"
        ).fetchall()
        names = [name for kind, name, _ in made if kind == "table"]
        tables = {name.lower(): _relation(connection, name) for name in names}
        declared = {name.lower(): _foreign_keys(connection, name, tables) for name in names}
    return [sql for _, _, sql in made], _linked(tables, declared)


def _relation(connection: sqlite3.Connection, name: str) -> Relation:
    info = connection.execute(f"PRAGMA table_info({delimited(name)})").fetchall()
    columns = tuple(column[1] for column in info)
    primary = sorted((column[5], place) for place, column in enumerate(info) if column[5])
    keys = [tuple(place for _, place in primary)]
    listed = connection.execute(f"PRAGMA index_list({delimited(name)})").fetchall()
    for _, index, unique, *_ in listed:
        parts = connection.execute(f"PRAGMA index_info({delimited(index)})").fetchall()
        if unique and all(part[2] in columns for part in parts):  # not an expression
            keys.append(tuple(columns.index(part[2]) for part in parts))
    rows = _sample(connection, delimited(name), ", ".join(map(delimited, columns)))
    types = tuple(column[2] for column in info)
    return Relation(name, columns, rows, tuple(dict.fromkeys(filter(None, keys))), types=types)


def _sample(connection: sqlite3.Connection, table: str, columns: str) -> tuple[Row, ...]:
    """Read up to `_SAMPLED` rows, spread evenly over a larger table."""
    (count,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
    every = max(1, -(-count // _SAMPLED))
    rows = connection.execute(f"SELECT {columns} FROM {table}")
    return tuple(itertools.islice(rows, 0, None, every))


def _foreign_keys(
    connection: sqlite3.Connection, name: str, tables: dict[str, Relation]
) -> tuple[Reference, ...]:
    """Return the declared references whose columns exist on both sides."""
    listed = connection.execute(f"PRAGMA foreign_key_list({delimited(name)})").fetchall()
    references: list[Reference] = []
    for _, parts in itertools.groupby(sorted(listed, key=lambda part: part[:2]), lambda p: p[0]):
        rows = list(parts)
        target = tables.get(rows[0][2].lower())
        if target is None:
            continue
        columns = _places(tables[name.lower()], [row[3] for row in rows])
        named = [row[4] for row in rows if row[4] is not None]
        target_columns = _places(target, named) if named else (target.keys or ((),))[0]
        if columns and len(columns) == len(target_columns):
            references.append(Reference(columns, target.name.lower(), target_columns))
    return tuple(references)


def _places(table: Relation, names: list[str]) -> tuple[int, ...]:
    """Return where the named columns stand; empty when one is missing."""
    known = {column.lower(): place for place, column in enumerate(table.columns)}
    places = [known.get(name.lower(), -1) for name in names]
    return () if -1 in places else tuple(places)


def _linked(
    tables: dict[str, Relation], declared: dict[str, tuple[Reference, ...]]
) -> dict[str, Relation]:
    """Give every table its references, and mark the columns that others refer to."""
    references = {
        name: (*declared[name], *_evident(table, declared[name], tables))
        for name, table in tables.items()
    }
    held: dict[str, set[int]] = {name: set() for name in tables}
    for reference in itertools.chain.from_iterable(references.values()):
        held[reference.target].update(reference.target_columns)
    return {
        name: replace(table, references=references[name], held=frozenset(held[name]))
        for name, table in tables.items()
    }


def _evident(
    table: Relation, declared: tuple[Reference, ...], tables: dict[str, Relation]
) -> Iterator[Reference]:
    """Find undeclared references: a column named like the key of another table, and within it."""
    taken = {place for reference in declared for place in reference.columns}
    for place, column in enumerate(table.columns):
        cells = set(table.column(place)) - {None}
        if place in taken or (place,) in table.keys or not cells:
            continue
        for name, target in tables.items():
            key = _places(target, [column])
            if target is not table and key in target.keys and cells <= set(target.column(key[0])):
                yield Reference((place,), name, key)
                break

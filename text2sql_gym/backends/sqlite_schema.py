"""Read the schema of an SQLite file, with BIRD's column descriptions where they lie beside it."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from text2sql_gym.backends.sqlite_connect import connect
from text2sql_gym.sql_text import delimited
from text2sql_gym.types import Column, ForeignKey, Schema, TableSchema

Descriptions = dict[str, dict[str, str]]
"""Column name to description, by table name; both in lower case."""


def read_schema(path: str) -> Schema:
    """Return the tables and views of a file in the order in which they were created.

    SQLite's own tables (``sqlite_sequence``, ...) are left out. A view that cannot be computed
    has no columns.
    """
    descriptions = read_descriptions(Path(path).parent / "database_description")
    with closing(connect(path)) as connection:
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
        ).fetchall()
        keys = {name.lower(): _primary_key(connection, name) for (name,) in names}
        return tuple(
            TableSchema(
                name,
                tuple(_columns(connection, name, descriptions.get(name.lower(), {}))),
                tuple(_foreign_keys(connection, name, keys)),
            )
            for (name,) in names
        )


def _columns(
    connection: sqlite3.Connection, table: str, descriptions: dict[str, str]
) -> Iterator[Column]:
    for _, name, kind, _, _, key, hidden in _pragma(connection, "table_xinfo", table):
        if hidden != 1:  # 1 is a virtual table's argument; generated columns are 2 and 3
            yield Column(name, kind, key > 0, descriptions.get(name.lower(), ""))


def _primary_key(connection: sqlite3.Connection, table: str) -> list[str]:
    rows = _pragma(connection, "table_xinfo", table)
    return [row[1] for row in sorted(rows, key=lambda row: int(row[5])) if row[5] > 0]


def _foreign_keys(
    connection: sqlite3.Connection, table: str, keys: dict[str, list[str]]
) -> Iterator[ForeignKey]:
    """Yield foreign keys as declared: SQLite lists them last to first."""
    rows = _pragma(connection, "foreign_key_list", table)
    for _, place, target, column, target_column, *_ in sorted(rows, key=lambda r: (-r[0], r[1])):
        implied = keys.get(target.lower(), [])[place : place + 1]
        yield ForeignKey(column, target, target_column or "".join(implied))


def _pragma(connection: sqlite3.Connection, pragma: str, table: str) -> list[Any]:
    try:
        return connection.execute(f"PRAGMA {pragma}({delimited(table)})").fetchall()
    except sqlite3.OperationalError:  # a view over something that does not exist
        return []


def read_descriptions(folder: Path) -> Descriptions:
    """Read BIRD's ``database_description/<table>.csv`` files; none is no error.

    A description joins the long name, what the column holds and what its values mean, each where
    it says something new.
    """
    if not folder.is_dir():
        return {}
    return {path.stem.strip().lower(): _described(path) for path in sorted(folder.glob("*.csv"))}


def _described(path: Path) -> dict[str, str]:
    descriptions = {}
    for row in csv.DictReader(io.StringIO(_decode(path.read_bytes()), newline="")):
        fields = {key.strip(): (value or "").strip() for key, value in row.items() if key}
        name = fields.get("original_column_name", "")
        descriptions[name.lower()] = _joined(name, fields)
    return descriptions


def _joined(name: str, fields: dict[str, str]) -> str:
    parts: list[str] = []
    for key in ("column_name", "column_description", "value_description"):
        text = " ".join(fields.get(key, "").split())
        if text and text.lower() not in {name.lower(), *map(str.lower, parts)}:
            parts.append(text)
    return "; ".join(parts)


def _decode(raw: bytes) -> str:
    """Decode a file whose encoding is not declared: BIRD's are UTF-8, some with a mark, or 1252."""
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")

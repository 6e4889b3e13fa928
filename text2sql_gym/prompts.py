"""How a schema is written into a prompt: `ddl` for language models, `compact` for tiny ones."""

from __future__ import annotations

from collections.abc import Callable

from text2sql_gym.display import neutral
from text2sql_gym.registry import lookup
from text2sql_gym.remembered import by_identity
from text2sql_gym.sql_text import delimited
from text2sql_gym.types import Column, ForeignKey, Schema, TableSchema


def ddl(schema: Schema) -> str:
    """CREATE TABLE statements with keys, foreign keys and column descriptions as comments."""
    return "\n\n".join(_create(table) for table in schema)


def _create(table: TableSchema) -> str:
    items = [_column_line(column) for column in table.columns]
    keys = [column.name for column in table.columns if column.primary_key]
    if keys:
        items.append((f"PRIMARY KEY ({', '.join(map(quoted, keys))})", ""))
    items += [(_foreign_line(key), "") for key in table.foreign_keys]
    commas = ["," if place < len(items) - 1 else "" for place in range(len(items))]
    lines = [f"    {item}{comma}{note}" for (item, note), comma in zip(items, commas, strict=True)]
    return "\n".join([f"CREATE TABLE {quoted(table.name)} (", *lines, ");"])


def _column_line(column: Column) -> tuple[str, str]:
    note = f" -- {' '.join(column.description.split())}" if column.description else ""
    return f"{quoted(column.name)} {column.type}".rstrip(), note


def _foreign_line(key: ForeignKey) -> str:
    target = f"{quoted(key.target_table)} ({quoted(key.target_column)})"
    return f"FOREIGN KEY ({quoted(key.column)}) REFERENCES {target}"


def compact(schema: Schema) -> str:
    """One line a table: ``sale(id, shop_id = shop.id, total)``; about a fifth of `ddl`'s length."""
    return "\n".join(_line(table) for table in schema)


def _line(table: TableSchema) -> str:
    targets = {key.column: key for key in table.foreign_keys}
    return f"{quoted(table.name)}({', '.join(_item(c.name, targets) for c in table.columns)})"


def _item(name: str, targets: dict[str, ForeignKey]) -> str:
    if name not in targets:
        return quoted(name)
    key = targets[name]
    return f"{quoted(name)} = {quoted(key.target_table)}.{quoted(key.target_column)}"


def quoted(name: str) -> str:
    """`name` as an SQL identifier: bare where that is safe, else in double quotes."""
    if name.isidentifier() and name.isascii() and name.upper() not in _RESERVED:
        return name
    return delimited(name)


_RESERVED = frozenset(
    "ADD ALL ALTER AND AS AUTOINCREMENT BETWEEN CASE CHECK COLLATE COMMIT CONSTRAINT CREATE DEFAULT"
    " DEFERRABLE DELETE DISTINCT DROP ELSE ESCAPE EXCEPT EXISTS FOREIGN FROM GROUP HAVING IF IN"
    " INDEX INSERT INTERSECT INTO IS ISNULL JOIN LIMIT NOT NOTNULL NULL ON OR ORDER PRIMARY"
    " REFERENCES SELECT SET TABLE THEN TO TRANSACTION UNION UNIQUE UPDATE USING VALUES WHEN WHERE"
    .split()
)

ENGINES = {"duckdb": "DuckDB", "postgresql": "PostgreSQL"}
"""What prompts call the engine of a URL's scheme; every other database is SQLite."""


def engine_of(url: str) -> str:
    """The name of the SQL dialect that a database at `url` understands."""
    scheme, _, rest = url.partition("://")
    return ENGINES.get(scheme, "SQLite") if rest else "SQLite"


SCHEMA_STYLES: dict[str, Callable[[Schema], str]] = {"ddl": ddl, "compact": compact}


@by_identity(256)
def shown_schema(schema: Schema, style: str) -> str:
    """Write a schema in one of `SCHEMA_STYLES` so that no name in it can be read as a tag.

    Remembered: the prompts of all tasks of a database share it.
    """
    return neutral(lookup(SCHEMA_STYLES, style, "schema style")(schema))

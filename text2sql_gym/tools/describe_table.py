"""See what a table holds."""

from __future__ import annotations

from collections.abc import Mapping

from text2sql_gym.backends.base import Backend
from text2sql_gym.display import show_lines
from text2sql_gym.tools.base import named_arguments, table_named
from text2sql_gym.types import Column, ForeignKey, Limits, ToolResult


def describe_table(backend: Backend, arguments: Mapping[str, str], limits: Limits) -> ToolResult:
    """List the columns of a table with their types, keys and descriptions.

    Arguments: ``table``, its name.
    """
    (name,) = named_arguments(arguments, "table")
    table = table_named(backend, name)
    lines = [_line(column, table.foreign_keys) for column in table.columns]
    return ToolResult(show_lines(lines, "columns", limits))


def _line(column: Column, foreign_keys: tuple[ForeignKey, ...]) -> str:
    key = ", primary key" if column.primary_key else ""
    targets = [
        f", refers to {foreign.target_table}.{foreign.target_column}".rstrip(".")
        for foreign in foreign_keys
        if foreign.column == column.name
    ]
    note = f" -- {column.description}" if column.description else ""
    return f"{column.name} {column.type}".rstrip() + key + "".join(targets) + note

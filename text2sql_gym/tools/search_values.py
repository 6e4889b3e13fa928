"""Find out how a value is spelt in a column."""

from __future__ import annotations

from collections.abc import Mapping

from text2sql_gym.backends.base import Backend
from text2sql_gym.prompts import quoted
from text2sql_gym.tools.base import column_named, named_arguments, shown, table_named
from text2sql_gym.types import Limits, ToolResult


def search_values(backend: Backend, arguments: Mapping[str, str], limits: Limits) -> ToolResult:
    """Show the values of a column that contain a text, whatever their case, in order.

    Arguments: ``table``, its name; ``column``, its name; ``text``, what to look for.
    """
    table_name, column_name, text = named_arguments(arguments, "table", "column", "text")
    table = table_named(backend, table_name)
    column = quoted(column_named(table, column_name).name)
    sql = (
        f"SELECT {column} FROM {quoted(table.name)}"
        f" WHERE lower(CAST({column} AS TEXT)) LIKE lower({_pattern(text)}) ESCAPE '~'"
        f" GROUP BY {column} ORDER BY {column}"
    )
    return shown(backend.execute(sql, max_rows=limits.tool_rows), limits)


def _pattern(text: str) -> str:
    """The SQL literal of a pattern that `text` and whatever contains it match."""
    for special in "~%_":
        text = text.replace(special, f"~{special}")
    return "'%" + text.replace("'", "''") + "%'"

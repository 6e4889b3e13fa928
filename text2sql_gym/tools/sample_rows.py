"""See what the rows of a table look like."""

from __future__ import annotations

from collections.abc import Mapping

from text2sql_gym.backends.base import Backend
from text2sql_gym.prompts import quoted
from text2sql_gym.tools.base import named_arguments, shown, table_named
from text2sql_gym.types import Limits, ToolResult


def sample_rows(backend: Backend, arguments: Mapping[str, str], limits: Limits) -> ToolResult:
    """Show the first rows of a table.

    Arguments: ``table``, its name.
    """
    (name,) = named_arguments(arguments, "table")
    sql = f"SELECT * FROM {quoted(table_named(backend, name).name)}"
    return shown(backend.execute(sql, max_rows=limits.tool_rows), limits)

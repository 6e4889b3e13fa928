"""Run a query and see the first rows of its result."""

from __future__ import annotations

from collections.abc import Mapping

from text2sql_gym.backends.base import Backend
from text2sql_gym.tools.base import named_arguments, shown
from text2sql_gym.types import Limits, ToolResult


def execute_sql(backend: Backend, arguments: Mapping[str, str], limits: Limits) -> ToolResult:
    """Run one read-only SQL query and return its columns and first rows.

    Arguments: ``sql``, the query.
    """
    (sql,) = named_arguments(arguments, "sql")
    return shown(backend.execute(sql, max_rows=limits.tool_rows), limits)

"""Run a query and see the first rows of its result."""

from __future__ import annotations

from collections.abc import Mapping

from text2sql_gym.backends.base import Backend
from text2sql_gym.display import show_table
from text2sql_gym.tools.base import named_arguments
from text2sql_gym.types import CallOutcome, Limits, ToolResult


def execute_sql(backend: Backend, arguments: Mapping[str, str], limits: Limits) -> ToolResult:
    """Run one read-only SQL query and return its columns and first rows.

    Arguments: ``sql``, the query.
    """
    (sql,) = named_arguments(arguments, "sql")
    table = backend.execute(sql, max_rows=limits.tool_rows)
    outcome = CallOutcome.OK if table.complete else CallOutcome.TRUNCATED
    return ToolResult(show_table(table, limits), outcome, table)

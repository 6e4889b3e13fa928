"""Submit the answer: it ends the episode."""

from __future__ import annotations

from collections.abc import Mapping

from text2sql_gym.backends.base import Backend
from text2sql_gym.display import show_table
from text2sql_gym.errors import ToolError
from text2sql_gym.tools.execute_sql import sql_argument
from text2sql_gym.types import CallOutcome, Limits, ToolResult


def submit(backend: Backend, arguments: Mapping[str, str], limits: Limits) -> ToolResult:
    """Submit the final SQL query. This ends the episode, whatever the query does.

    Arguments: ``sql``, the query.
    """
    sql = sql_argument(arguments)
    try:
        table = backend.execute(sql, max_rows=limits.compared_rows)
    except ToolError as error:
        return ToolResult(f"Error: {error}", error.outcome, error=str(error), final=True)
    outcome = CallOutcome.OK if table.complete else CallOutcome.TRUNCATED
    return ToolResult(show_table(table, limits), outcome, table, final=True)

"""Submit the answer: it ends the episode."""

from __future__ import annotations

from collections.abc import Mapping

from text2sql_gym.backends.base import Backend
from text2sql_gym.errors import ToolError
from text2sql_gym.tools.base import failed, named_arguments, shown
from text2sql_gym.types import Limits, ToolResult


def submit(backend: Backend, arguments: Mapping[str, str], limits: Limits) -> ToolResult:
    """Submit the final SQL query. This ends the episode, whatever the query does.

    Arguments: ``sql``, the query.
    """
    (sql,) = named_arguments(arguments, "sql")
    try:
        return shown(backend.execute(sql, max_rows=limits.compared_rows), limits, final=True)
    except ToolError as error:
        return failed(error, limits, final=True)

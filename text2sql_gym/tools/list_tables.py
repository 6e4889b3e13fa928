"""See which tables there are."""

from __future__ import annotations

from collections.abc import Mapping

from text2sql_gym.backends.base import Backend
from text2sql_gym.display import show_lines
from text2sql_gym.tools.base import named_arguments
from text2sql_gym.types import Limits, ToolResult


def list_tables(backend: Backend, arguments: Mapping[str, str], limits: Limits) -> ToolResult:
    """List the tables and views of the database with their number of columns.

    Arguments: none.
    """
    named_arguments(arguments)
    lines = [f"{table.name} ({len(table.columns)} columns)" for table in backend.schema()]
    return ToolResult(show_lines(lines, "tables", limits))

"""What a tool is: a function of the database and its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from text2sql_gym.backends.base import Backend
from text2sql_gym.display import show_error, show_table
from text2sql_gym.errors import ToolError, UnknownName
from text2sql_gym.registry import lookup
from text2sql_gym.types import CallOutcome, Column, Limits, Table, TableSchema, ToolResult

T = TypeVar("T")


class Tool(Protocol):
    """Answer one call. Its docstring is shown to the policy in generated prompts.

    Every text from the database or the call goes through `text2sql_gym.display`, so that none of
    it can be read as a tag.
    """

    def __call__(
        self, backend: Backend, arguments: Mapping[str, str], limits: Limits
    ) -> ToolResult:
        """Raises `ToolError` for the policy's mistakes and nothing else of its own."""


def named_arguments(arguments: Mapping[str, str], *names: str) -> tuple[str, ...]:
    """Return the arguments with these names; others, or fewer, are the policy's mistake."""
    if set(arguments) != set(names):
        expected = ", ".join(f'"{name}"' for name in names) or "none"
        got = ", ".join(f'"{name}"' for name in arguments) or "none"
        raise ToolError(f"expected the arguments {expected}; got {got}", CallOutcome.MALFORMED)
    return tuple(arguments[name] for name in names)


def failed(error: ToolError, limits: Limits, *, final: bool = False) -> ToolResult:
    """What the policy is told of its mistake."""
    return ToolResult(show_error(str(error), limits), error.outcome, error=str(error), final=final)


def shown(table: Table, limits: Limits, *, final: bool = False) -> ToolResult:
    """What the policy is shown of a result."""
    outcome = CallOutcome.OK if table.complete else CallOutcome.TRUNCATED
    return ToolResult(show_table(table, limits), outcome, table, final=final)


def table_named(backend: Backend, name: str) -> TableSchema:
    """Return a table or view by its name in any case, or tell the policy the nearest one."""
    return _named({table.name.lower(): table for table in backend.schema()}, name, "table")


def column_named(table: TableSchema, name: str) -> Column:
    """Return a column by its name in any case, or tell the policy the nearest one."""
    columns = {column.name.lower(): column for column in table.columns}
    return _named(columns, name, f"column of {table.name}")


def _named(table: Mapping[str, T], name: str, kind: str) -> T:
    try:
        return lookup(table, name.lower(), kind)
    except UnknownName as error:
        raise ToolError(str(error)) from error

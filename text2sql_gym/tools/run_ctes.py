"""Try a chain of common table expressions, view by view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from text2sql_gym.backends.base import Backend
from text2sql_gym.display import one_line
from text2sql_gym.errors import ToolError
from text2sql_gym.tools.base import failed, named_arguments, shown
from text2sql_gym.tools.cte_chain import MOST_VIEWS, read_chain, run_views
from text2sql_gym.types import CallOutcome, Limits, ToolResult


def run_ctes(backend: Backend, arguments: Mapping[str, str], limits: Limits) -> ToolResult:
    """Run each view of a chain and return the columns and first rows of the last one.

    Arguments: ``sql``, the chain without a query behind it: WITH a AS (...), b AS (...).
    """
    (sql,) = named_arguments(arguments, "sql")
    chain = read_chain(sql, limits)
    if chain.rest:
        raise ToolError(
            "expected nothing behind the last view of the chain", CallOutcome.MALFORMED
        )
    if len(chain.views) > MOST_VIEWS:
        raise ToolError(
            f"expected at most {MOST_VIEWS} views, got {len(chain.views)}", CallOutcome.MALFORMED
        )
    views = run_views(chain, backend, limits)
    last = views[-1]
    if last.table is not None:
        return replace(shown(last.table, limits), views=views)
    name = one_line(last.name, limits.shown_cell_characters)
    error = ToolError(f"view {name}: {last.error}", last.outcome)
    return replace(failed(error, limits), views=views)

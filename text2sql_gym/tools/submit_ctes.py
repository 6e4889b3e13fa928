"""Submit the answer as a chain of common table expressions: it ends the episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from text2sql_gym.backends.base import Backend
from text2sql_gym.errors import ToolError
from text2sql_gym.tools.base import named_arguments
from text2sql_gym.tools.cte_chain import read_chain, run_views
from text2sql_gym.tools.submit import submit
from text2sql_gym.types import Limits, ToolResult, View


def submit_ctes(backend: Backend, arguments: Mapping[str, str], limits: Limits) -> ToolResult:
    """Submit the final SQL query, built on the views of a chain. This ends the episode.

    Arguments: ``sql``, the chain and the query: WITH a AS (...), b AS (...) SELECT ...
    """
    (sql,) = named_arguments(arguments, "sql")
    views: tuple[View, ...] = ()
    try:
        views = run_views(read_chain(sql, limits), backend, limits)
    except ToolError:
        pass  # no chain: judged as it is, with no view to credit
    return replace(submit(backend, arguments, limits), views=views)

"""The tools a protocol may offer, by the name the policy calls them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import cache

from text2sql_gym.registry import lookup
from text2sql_gym.tools.base import Tool
from text2sql_gym.tools.describe_table import describe_table
from text2sql_gym.tools.execute_sql import execute_sql
from text2sql_gym.tools.list_tables import list_tables
from text2sql_gym.tools.propose_schema import propose_schema
from text2sql_gym.tools.sample_rows import sample_rows
from text2sql_gym.tools.search_values import search_values
from text2sql_gym.tools.submit import submit

TOOLS: dict[str, Tool] = {
    "list_tables": list_tables,
    "describe_table": describe_table,
    "sample_rows": sample_rows,
    "search_values": search_values,
    "propose_schema": propose_schema,
    "execute_sql": execute_sql,
    "submit": submit,
}

__all__ = ["TOOLS", "Tool", "describe"]


def describe(names: Iterable[str]) -> str:
    """One line a tool for a prompt, made from its docstring."""
    return "\n".join(f"- {name}: {_said_of(name)}" for name in names)


@cache
def _said_of(name: str) -> str:
    return " ".join((inspect.getdoc(lookup(TOOLS, name, "tool")) or "").replace("``", "").split())

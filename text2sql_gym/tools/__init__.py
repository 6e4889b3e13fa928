"""The tools a protocol may offer, by the name the policy calls them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from text2sql_gym.registry import lookup
from text2sql_gym.tools.base import Tool
from text2sql_gym.tools.describe_table import describe_table
from text2sql_gym.tools.execute_sql import execute_sql
from text2sql_gym.tools.list_tables import list_tables
from text2sql_gym.tools.propose_schema import propose_schema
from text2sql_gym.tools.run_ctes import run_ctes
from text2sql_gym.tools.sample_rows import sample_rows
from text2sql_gym.tools.search_values import search_values
from text2sql_gym.tools.submit import submit
from text2sql_gym.tools.submit_ctes import submit_ctes

TOOLS: dict[str, Tool] = {
    "list_tables": list_tables,
    "describe_table": describe_table,
    "sample_rows": sample_rows,
    "search_values": search_values,
    "propose_schema": propose_schema,
    "execute_sql": execute_sql,
    "run_ctes": run_ctes,
    "submit": submit,
    "submit_ctes": submit_ctes,
}

__all__ = ["TOOLS", "Tool", "describe", "summary", "tool_schema"]

_ARGUMENT = re.compile(r"``(\w+)``, ([^`]*)")


def describe(names: Iterable[str]) -> str:
    """One line a tool for a prompt, made from its docstring."""
    return "\n".join(f"- {name}: {_said_of(name).replace('``', '')}" for name in names)


def summary(name: str) -> str:
    """What a tool does, without its arguments, made from its docstring."""
    return _said_of(name).partition(" Arguments:")[0]


def tool_schema(name: str) -> dict[str, Any]:
    """The JSON schema of a tool as chat templates and OpenAI's interface take it.

    Made from the docstring: every argument is a string and required.
    """
    described = _said_of(name).partition(" Arguments:")[2]
    arguments = {argument: said.strip(" .;") for argument, said in _ARGUMENT.findall(described)}
    parameters = {
        "type": "object",
        "properties": {
            argument: {"type": "string", "description": said}
            for argument, said in arguments.items()
        },
        "required": list(arguments),
    }
    function = {"name": name, "description": summary(name), "parameters": parameters}
    return {"type": "function", "function": function}


@cache
def _said_of(name: str) -> str:
    return " ".join((inspect.getdoc(lookup(TOOLS, name, "tool")) or "").split())

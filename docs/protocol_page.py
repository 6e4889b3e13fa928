"""What a protocol's page shows beside its docstring: a prompt, turns and an answer, as they are."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from docstrings import as_markdown, code_block
from entries import Links

from text2sql_gym.protocols import AgentProtocol
from text2sql_gym.tools import TOOLS
from text2sql_gym.types import (
    Column,
    ForeignKey,
    Limits,
    TableSchema,
    Task,
    ToolCall,
    ToolResult,
    Turn,
)

_TURNS = 7
_VIEW = "WITH may AS (SELECT shop_id FROM sale WHERE month = 5)"
_TASK = Task(
    task_id="shop/1",
    database="shop.sqlite",
    question="How many sales were there in May?",
    evidence="May is month 5",
    gold_sql=("SELECT COUNT(*) FROM sale WHERE month = 5",),
)
_SCHEMA = (
    TableSchema("shop", (Column("id", "INTEGER", primary_key=True), Column("city", "TEXT"))),
    TableSchema(
        "sale",
        (Column("shop_id", "INTEGER"), Column("month", "INTEGER", description="1 to 12")),
        (ForeignKey("shop_id", "shop", "id"),),
    ),
)
_ARGUMENTS = {
    "sql": _TASK.gold_sql[0],
    "table": "sale",
    "column": "month",
    "text": "5",
    "schema": "sale(month)",
}
_CHAINS = {"run_ctes": _VIEW, "submit_ctes": f"{_VIEW} SELECT COUNT(*) FROM may"}


def protocol_page(name: str, entry: Any, links: Links) -> str:
    """Where the protocol is from, and its prompt, turns and answers with the default options."""
    protocol: AgentProtocol = entry()
    return "\n\n".join(
        [
            f"## Description\n\n{as_markdown(_about(entry), links)}",
            f"## Prompt\n\nWith the default options, for {_TURNS} turns:\n\n{_prompt(protocol)}",
            *_schemas(protocol),
            f"## Action space\n\nOne turn of text. For each tool:\n\n{_actions(protocol)}",
            f"## Observation space\n\nThe answer to a call:\n\n{_answer(protocol)}",
        ]
    )


def wrapped(text: str) -> str:
    """A block of text whose long lines wrap."""
    return code_block(f":class: wrapped\n\n{text}", "{code-block} text")


def _about(entry: Any) -> str:
    module = inspect.getmodule(entry)
    return (inspect.getdoc(module) if module else "") or ""


def _prompt(protocol: AgentProtocol) -> str:
    messages = protocol.prompt(_TASK, _SCHEMA, Limits(), _TURNS)
    return wrapped("\n\n".join(f"[{one['role']}]\n{one['content']}" for one in messages))


def _schemas(protocol: AgentProtocol) -> list[str]:
    if not protocol.tool_schemas:
        return []
    shown = code_block(json.dumps(protocol.tool_schemas[0], indent=2), "json")
    told = f'`info["tool_schemas"]` has {len(protocol.tool_schemas)} of these. The first one:'
    return [f"## Tool schemas\n\n{told}\n\n{shown}"]


def _call(tool: str) -> ToolCall:
    """A call with the arguments that the tool's docstring names."""
    told = (inspect.getdoc(TOOLS[tool]) or "").partition("Arguments:")[2]
    values = _ARGUMENTS | ({"sql": _CHAINS[tool]} if tool in _CHAINS else {})
    return ToolCall(tool, {name: values[name] for name in re.findall(r"``(\w+)``", told)})


def _actions(protocol: AgentProtocol) -> str:
    turns = [protocol.write(_call(tool), "May is month 5.") for tool in protocol.tools]
    return wrapped("\n\n".join(turns))


def _answer(protocol: AgentProtocol) -> str:
    call = _call(protocol.tools[0])
    turn = Turn(call, ToolResult("COUNT(*)\n42\n(1 row)"))
    return wrapped(protocol.observe(protocol.write(call), turn, _TURNS - 1)["content"])

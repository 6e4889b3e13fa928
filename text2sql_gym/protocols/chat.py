"""Native tool calls, as chat models are trained on them: one call a turn, answered by a message.

A turn is one of

- text as a Hermes or Qwen model writes it: thoughts, and behind them one
  ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``;
- an assistant's message as JSON, as OpenAI's interface, vLLM and TRL give it: ``{"role":
  "assistant", "content": ..., "tool_calls": [{"id": ..., "type": "function", "function": {"name":
  ..., "arguments": ...}}]}`` with one entry in ``tool_calls``, its arguments an object or JSON;
- the call alone, as the template of Llama 3 asks for it: ``{"name": ..., "parameters": {...}}``.

``info["messages"]`` has what the model reads (a ``tool`` message carries the id of the call, if it
had one) and ``info["tool_schemas"]`` what its chat template, or the interface, takes as ``tools``.
A turn without a call is answered by a ``user`` message: there is no call to answer. Ask an
interface for ``parallel_tool_calls=False``: a message with two calls is malformed, and only the
first of its ids is answered.

Source: the ``<tool_call>`` form is that of Nous Research's Hermes models, which Qwen's templates
took over; vLLM's hermes parser reads the same, and tolerates more.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from text2sql_gym.prompts import engine_of
from text2sql_gym.protocols.base import AgentProtocol, Message
from text2sql_gym.protocols.turns import forged, malformed, read_call, read_json, write_call
from text2sql_gym.protocols.wording import (
    RULES,
    check_schema_option,
    checked_tools,
    question_message,
    where_to_look,
)
from text2sql_gym.tools import tool_schema
from text2sql_gym.types import Limits, Schema, Task, ToolCall, Turn

_SYSTEM = """\
You answer questions over a {dialect} database by writing SQL. Explore with the tools, one call a \
turn, and call submit with the query that is your answer.{unknown}

Instructions:
{rules}

You have {turns} turns. The last one must be the call of submit; it ends the conversation. A query \
is answered with the columns and the first {rows} rows of its result, or with an error."""

_EXPECTED = (
    'your text and then one <tool_call>{"name": ..., "arguments": {...}}</tool_call>, or an'
    ' assistant\'s message as JSON with one entry in "tool_calls"'
)
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


@dataclass(frozen=True)
class Chat(AgentProtocol):
    """Text with ``<tool_call>{JSON}</tool_call>`` in it, or an assistant's message as JSON.

    dialect  the SQL dialect named in the instructions; "" is that of the task's database
    schema   "full" shows the schema in the prompt; "unknown" leaves it to the tools
    tools    what may be called; submit is one of them
    """

    dialect: str = ""
    schema: str = "full"
    tools: tuple[str, ...] = (
        "list_tables",
        "describe_table",
        "sample_rows",
        "search_values",
        "execute_sql",
        "submit",
    )

    def __post_init__(self) -> None:
        check_schema_option(self.schema)
        object.__setattr__(self, "tools", checked_tools(self.tools, "submit"))

    @property
    def tool_schemas(self) -> tuple[dict[str, Any], ...]:
        """The JSON schema of every tool, made from its docstring."""
        return tuple(map(tool_schema, self.tools))

    def prompt(
        self, task: Task, schema: Schema, limits: Limits, max_turns: int
    ) -> tuple[Message, ...]:
        """The instructions; the schema, unless it is unknown, and the question."""
        system = _SYSTEM.format(
            dialect=self.dialect or engine_of(task.database),
            unknown=where_to_look(task, self.tools, self.schema),
            rules=RULES,
            turns=max_turns,
            rows=limits.shown_rows,
        )
        user = question_message(task, schema, self.schema)
        return ({"role": "system", "content": system}, user)

    def parse(self, action: str) -> ToolCall:
        """Read one turn in either form; none, several or unfinished calls are malformed."""
        text = action.strip()
        if forgery := forged(text):
            raise malformed(_EXPECTED, forgery)
        if text.startswith("{"):
            return read_call(_call_in(text), self.tools)
        calls = max(text.count("<tool_call>"), text.count("</tool_call>"))
        if calls != 1:
            raise malformed(_EXPECTED, f"{calls} tool calls")
        payload, closed, after = text.partition("<tool_call>")[2].partition("</tool_call>")
        if not closed or after.strip():
            raise malformed(_EXPECTED, "a tool call that is not closed at the end")
        return read_call(read_json(payload), self.tools)

    def write(self, call: ToolCall, thought: str = "") -> str:
        """Write a turn in the form of text."""
        payload = write_call(call.tool, call.arguments)
        return f"{thought}\n<tool_call>\n{payload}\n</tool_call>".lstrip()

    def said(self, action: str) -> Message:
        """The message itself where the turn is one with calls, else the turn as its content."""
        message = _message_in(action)
        return super().said(action) if message is None else {"content": "", **message}

    def observe(self, action: str, turn: Turn, remaining_turns: int) -> Message:
        """The result as a ``tool`` message; a turn without a call is answered by the user."""
        notice = "\nOne turn is left: call submit." if remaining_turns == 1 else ""
        answer = {"content": f"{turn.result.text}{notice}"}
        name = {"name": turn.call.tool} if turn.call else {}
        call_id = _call_id(_message_in(action))
        if call_id:
            return {"role": "tool", "tool_call_id": call_id, **name, **answer}
        return {"role": "tool" if name else "user", **name, **answer}


def _call_in(text: str) -> dict[str, Any]:
    """The one call of a message as ``{"name": ..., "arguments": {...}}``."""
    message = read_json(text)
    if {"name", "parameters"} <= message.keys() and "tool_calls" not in message:
        return {"name": message["name"], "arguments": message["parameters"]}
    if message.get("role", "assistant") != "assistant":
        raise malformed(_EXPECTED, "a message of another role")
    texts = (value for value in message.values() if isinstance(value, str))
    if forgery := forged("\n".join(texts)):
        raise malformed(_EXPECTED, forgery)
    calls = message.get("tool_calls")
    if not (isinstance(calls, list) and len(calls) == 1 and isinstance(calls[0], dict)):
        raise malformed(_EXPECTED, 'a message without exactly one entry in "tool_calls"')
    function = calls[0].get("function")
    if not isinstance(function, dict):
        raise malformed(_EXPECTED, 'no "function" in the tool call')
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = read_json(arguments)
    return {"name": function.get("name"), "arguments": arguments}


def _message_in(action: str) -> Message | None:
    """The assistant's message with calls that a turn is; None for other turns and for forgeries."""
    if not action.lstrip().startswith("{"):
        return None
    try:
        message = json.loads(action)
    except (ValueError, RecursionError):
        return None
    calls = message.get("tool_calls")
    called = isinstance(calls, list) and bool(calls) and all(isinstance(one, dict) for one in calls)
    mine = called and message.get("role", "assistant") == "assistant"
    return {**message, "role": "assistant"} if mine and not forged(_unescaped(action)) else None


def _unescaped(text: str) -> str:
    """What JSON's escapes may hide, however often they are applied."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text).replace("\\", "")


def _call_id(message: Message | None) -> str:
    """The id of the first call of a message, so that it can be answered even if it is malformed."""
    call_id = message["tool_calls"][0].get("id") if message else None
    return call_id if isinstance(call_id, str) and len(call_id) <= 100 else ""

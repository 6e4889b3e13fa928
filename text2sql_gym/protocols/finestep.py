"""The two-mode protocol of FineStep: reasoning, then either a tool call or the final SQL.

Source: arXiv 2605.04719, appendix, as far as it is public: the three rules of the prompt, the two
exclusive modes, and the ``<reasoning>`` tag. The syntax of the tool call (Qwen3's native JSON), the
tag of the answer (ReEx-SQL's ``<final_sql>``), the wrapper of results and the number of rows
shown are our reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from text2sql_gym.prompts import engine_of
from text2sql_gym.protocols.base import AgentProtocol, Message
from text2sql_gym.protocols.turns import Grammar, read_call, read_json, write_call
from text2sql_gym.protocols.wording import (
    RULES,
    check_schema_option,
    checked_tools,
    question_message,
    tagged_result,
    where_to_look,
)
from text2sql_gym.tools import describe
from text2sql_gym.types import Limits, Schema, Task, ToolCall, Turn

_SYSTEM = """\
You answer questions over a {dialect} database by writing SQL. You may run trial queries first.\
{unknown}

Instructions:
{rules}
- Correctness: think through the steps of writing the query before you give it, and validate your \
reasoning by testing it with the tool.

You have {turns} turns. The last one must be the final SQL. Each turn is in exactly one of two \
modes:

Option A, a tool call for validation or exploration:
<reasoning>concise reasoning</reasoning>
<tool_call>{{"name": "execute_sql", "arguments": {{"sql": "SELECT ..."}}}}</tool_call>

Tools:
{tools}

Option B, the answer, which ends the episode:
<reasoning>concise reasoning</reasoning>
<final_sql>SELECT ...</final_sql>

A tool call is answered with the columns and the first {rows} rows of the result, or with an \
error. Do not mix the two modes and write nothing outside the tags."""

_GRAMMAR = Grammar(lead=("reasoning",), modes=("tool_call", "final_sql"))


@dataclass(frozen=True)
class FineStep(AgentProtocol):
    """``<reasoning>…</reasoning>`` then ``<tool_call>{JSON}</tool_call>`` or ``<final_sql>…``.

    style    "full" writes the instructions and the schema as DDL; "compact" leaves the
             instructions out and writes one line a table, for models that are trained on the
             protocol and have a short context
    dialect  the SQL dialect named in the instructions; "" is that of the task's database
    tools    what may be called: execute_sql and submit (by ``<final_sql>``), as in the paper, or
             more of `TOOLS`
    schema   "full" shows the schema in the prompt, as in the paper; "unknown" leaves it out
    """

    style: str = "full"
    dialect: str = ""
    tools: tuple[str, ...] = ("execute_sql", "submit")
    schema: str = "full"

    tags: ClassVar[tuple[str, ...]] = (*_GRAMMAR.lead, *_GRAMMAR.modes)
    scaffold: ClassVar[tuple[str, ...]] = (
        "<reasoning>",
        '</reasoning>\n<tool_call>{"name": "execute_sql", "arguments": {"sql": "',
        '"}}</tool_call>',
        "</reasoning>\n<final_sql>",
        "</final_sql>",
        "<result>\n",
        "\n</result>",
    )
    """texts that a tokenizer made for this protocol may treat as one token each"""

    def __post_init__(self) -> None:
        if self.style not in ("full", "compact"):
            raise ValueError(f"style: expected 'full' or 'compact', got {self.style!r}")
        check_schema_option(self.schema)
        object.__setattr__(self, "tools", checked_tools(self.tools, "execute_sql", "submit"))

    def prompt(
        self, task: Task, schema: Schema, limits: Limits, max_turns: int
    ) -> tuple[Message, ...]:
        """Schema and question; before them, in the full style, the instructions."""
        if self.style == "compact":
            return (question_message(task, schema, self.schema, "compact"),)
        system = _SYSTEM.format(
            dialect=self.dialect or engine_of(task.database),
            unknown=where_to_look(task, self.tools, self.schema),
            rules=RULES,
            turns=max_turns,
            rows=limits.shown_rows,
            tools=describe(self._callable),
        )
        user = question_message(task, schema, self.schema)
        return ({"role": "system", "content": system}, user)

    def parse(self, action: str) -> ToolCall:
        """Read one turn; text outside the tags, a missing, mixed or repeated tag is malformed.

        So is a ``<result>``: only the environment writes observations.
        """
        found = _GRAMMAR.read(action)
        if "final_sql" in found:
            return ToolCall("submit", {"sql": found["final_sql"].strip()})
        return read_call(read_json(found["tool_call"]), self._callable)

    def write(self, call: ToolCall, thought: str = "") -> str:
        """Write a turn of the mode that the tool belongs to."""
        if call.tool == "submit":
            return self.answer(thought, call.arguments["sql"])
        payload = write_call(call.tool, call.arguments)
        return _GRAMMAR.write(reasoning=thought, tool_call=payload)

    def observe(self, action: str, turn: Turn, remaining_turns: int) -> Message:
        """The result between ``<result>`` tags; the last turn but one says so."""
        return tagged_result(turn, remaining_turns, "give the final SQL")

    @cached_property
    def _callable(self) -> tuple[str, ...]:
        return tuple(name for name in self.tools if name != "submit")

    @staticmethod
    def call(reasoning: str, sql: str) -> str:
        """Write a turn of option A."""
        payload = write_call("execute_sql", {"sql": sql})
        return _GRAMMAR.write(reasoning=reasoning, tool_call=payload)

    @staticmethod
    def answer(reasoning: str, sql: str) -> str:
        """Write a turn of option B."""
        return _GRAMMAR.write(reasoning=reasoning, final_sql=sql)

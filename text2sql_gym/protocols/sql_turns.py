"""Protocols whose turns are a thought and then SQL in one of two tags: a trial or the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from text2sql_gym.prompts import engine_of
from text2sql_gym.protocols.base import AgentProtocol, Message
from text2sql_gym.protocols.turns import Grammar
from text2sql_gym.protocols.wording import (
    RULES,
    check_schema_option,
    question_message,
    tagged_result,
    where_to_look,
)
from text2sql_gym.tools import summary
from text2sql_gym.types import Limits, Schema, Task, ToolCall, Turn


@dataclass(frozen=True)
class SqlTurns(AgentProtocol):
    """``<think>…</think>`` and then SQL in the tag of a tool.

    A class that inherits from this one has `system`, the instructions with fields to be filled
    in (a tool's name stands for what it does), and `tags`, the tag of each tool, the final one
    last.
    """

    dialect: str = ""
    schema: str = "full"

    system: ClassVar[str]
    tags: ClassVar[Mapping[str, str]]

    def __post_init__(self) -> None:
        check_schema_option(self.schema)

    @property
    def tools(self) -> tuple[str, ...]:
        """The tool of each tag."""
        return tuple(self.tags)

    def prompt(
        self, task: Task, schema: Schema, limits: Limits, max_turns: int
    ) -> tuple[Message, ...]:
        """The instructions; the schema, unless it is unknown, and the question."""
        system = self.system.format(
            dialect=self.dialect or engine_of(task.database),
            unknown=where_to_look(task, self.tools, self.schema),
            rules=RULES,
            turns=max_turns,
            rows=limits.shown_rows,
            **{tool: summary(tool) for tool in self.tools},
        )
        user = question_message(task, schema, self.schema)
        return ({"role": "system", "content": system}, user)

    def parse(self, action: str) -> ToolCall:
        """Read one turn; each tag occurs once, and nothing stands outside them."""
        found = self._grammar.read(action)
        ((tool, tag),) = ((tool, tag) for tool, tag in self.tags.items() if tag in found)
        return ToolCall(tool, {"sql": found[tag].strip()})

    def write(self, call: ToolCall, thought: str = "") -> str:
        """Write a turn with the tag of the tool."""
        return self._grammar.write(
            **{"think": thought, self.tags[call.tool]: call.arguments["sql"]}
        )

    def observe(self, action: str, turn: Turn, remaining_turns: int) -> Message:
        """The result between ``<result>`` tags; the last turn but one says so."""
        return tagged_result(turn, remaining_turns, "give the final query in <final_sql>")

    @property
    def _grammar(self) -> Grammar:
        return Grammar(lead=("think",), modes=tuple(self.tags.values()))

"""What a protocol is: how a turn of text becomes a tool call and a result becomes text."""

from __future__ import annotations

from typing import Protocol

from text2sql_gym.types import Limits, Schema, Task, ToolCall, ToolResult

Message = dict[str, str]
"""One chat message: ``{"role": ..., "content": ...}``."""


class AgentProtocol(Protocol):
    """The language an episode is held in. Stateless: one object serves any number of episodes."""

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools an action may call, by their names in `TOOLS`."""

    def prompt(
        self, task: Task, schema: Schema, limits: Limits, max_turns: int
    ) -> tuple[Message, ...]:
        """Return the messages an episode begins with."""

    def parse(self, action: str) -> ToolCall:
        """Read one turn of the policy, in time linear in its length.

        Raises `ToolError` with `CallOutcome.MALFORMED` that says what was expected. Its message
        is shown as it is: it may name tags, and must not quote the action unless `neutral`.
        """

    def observe(self, result: ToolResult, remaining_turns: int) -> Message:
        """Return the message that answers a call."""

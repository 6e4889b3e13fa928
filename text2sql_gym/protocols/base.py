"""What a protocol is: how a turn of text becomes a tool call and a result becomes text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from text2sql_gym.types import Limits, Schema, Task, ToolCall, ToolResult, Turn

Message = dict[str, Any]
"""One chat message: ``{"role": ..., "content": ...}``, both texts. `chat` adds what calls need; the
content of its assistant's messages is the model's own, and may be None."""


class AgentProtocol(Protocol):
    """The language an episode is held in. Stateless: one object serves any number of episodes.

    A class that inherits from this one gets `tool_schemas`, `said` and `review` as most protocols
    need them.
    """

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools an action may call, by their names in `TOOLS`."""

    @property
    def tool_schemas(self) -> tuple[dict[str, Any], ...]:
        """JSON schemas for a model's chat template; none where the prompt describes the tools."""
        return ()

    def prompt(
        self, task: Task, schema: Schema, limits: Limits, max_turns: int
    ) -> tuple[Message, ...]:
        """Return the messages an episode begins with."""

    def parse(self, action: str) -> ToolCall:
        """Read one turn of the policy, in time linear in its length.

        Raises `ToolError` with `CallOutcome.MALFORMED` that says what was expected, also for a
        turn that writes what only the environment may write. The message is shown as it is: it
        may name tags, and must not quote the action unless `neutral`.
        """

    def write(self, call: ToolCall, thought: str = "") -> str:
        """Write a turn that `parse` reads as `call`; the inverse, for scripts and people.

        Arguments or thoughts with the protocol's own tags in them may give a malformed turn.
        """

    def said(self, action: str) -> Message:
        """Return a turn of the policy as the assistant's message of a conversation."""
        return {"role": "assistant", "content": action}

    def review(self, call: ToolCall, result: ToolResult, history: Sequence[Turn]) -> ToolResult:
        """Return the result, or what stands in its place if the call breaks the protocol's order.

        The call has run, or has failed; its outcome is then one of `VIOLATIONS`.
        """
        return result

    def observe(self, action: str, turn: Turn, remaining_turns: int) -> Message:
        """Return the message that answers a turn, in which `action` was read as ``turn.call``."""

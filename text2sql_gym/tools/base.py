"""What a tool is: a function of the database and its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from text2sql_gym.backends.base import Backend
from text2sql_gym.display import show_error
from text2sql_gym.errors import ToolError
from text2sql_gym.types import CallOutcome, Limits, ToolResult


class Tool(Protocol):
    """Answer one call. Its docstring is shown to the policy in generated prompts.

    Every text from the database or the call goes through `text2sql_gym.display`, so that none of
    it can be read as a tag.
    """

    def __call__(
        self, backend: Backend, arguments: Mapping[str, str], limits: Limits
    ) -> ToolResult:
        """Raises `ToolError` for the policy's mistakes and nothing else of its own."""


def named_arguments(arguments: Mapping[str, str], *names: str) -> tuple[str, ...]:
    """Return the arguments with these names; others, or fewer, are the policy's mistake."""
    if set(arguments) != set(names):
        expected = ", ".join(f'"{name}"' for name in names) or "none"
        got = ", ".join(f'"{name}"' for name in arguments) or "none"
        raise ToolError(f"expected the arguments {expected}; got {got}", CallOutcome.MALFORMED)
    return tuple(arguments[name] for name in names)


def failed(error: ToolError, limits: Limits, *, final: bool = False) -> ToolResult:
    """What the policy is told of its mistake."""
    return ToolResult(show_error(str(error), limits), error.outcome, error=str(error), final=final)

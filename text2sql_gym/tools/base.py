"""What a tool is: a function of the database and its arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from text2sql_gym.backends.base import Backend
from text2sql_gym.types import Limits, ToolResult


class Tool(Protocol):
    """Answer one call. Its docstring is shown to the policy in generated prompts."""

    def __call__(
        self, backend: Backend, arguments: Mapping[str, str], limits: Limits
    ) -> ToolResult:
        """Raises `ToolError` for the policy's mistakes and nothing else of its own."""

"""The tools a protocol may offer, by the name the policy calls them."""

from __future__ import annotations

from text2sql_gym.tools.base import Tool
from text2sql_gym.tools.execute_sql import execute_sql
from text2sql_gym.tools.submit import submit

TOOLS: dict[str, Tool] = {
    "execute_sql": execute_sql,
    "submit": submit,
}

__all__ = ["TOOLS", "Tool"]

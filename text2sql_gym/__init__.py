"""Text-to-SQL as a Gymnasium environment with step-level process rewards.

Importing the package registers ``Text2SQL-v0``; ``gym.make("text2sql_gym:Text2SQL-v0")`` does
both in one call.
"""

from __future__ import annotations

import gymnasium as gym

from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.errors import EnvironmentFault, Text2SQLError, ToolError
from text2sql_gym.types import CallOutcome, EpisodeOutcome, Limits, Task

__version__ = "0.1.0"

__all__ = [
    "CallOutcome",
    "EnvironmentFault",
    "EpisodeOutcome",
    "Limits",
    "Task",
    "Text2SQLEnv",
    "Text2SQLError",
    "ToolError",
    "__version__",
]

gym.register(
    id="Text2SQL-v0",
    entry_point="text2sql_gym.env:Text2SQLEnv",
    vector_entry_point="text2sql_gym.vector:Text2SQLVectorEnv",
)

"""Wrappers around `Text2SQLEnv`."""

from __future__ import annotations

from text2sql_gym.wrappers.action_menu import ActionMenu

__all__ = ["ActionMenu"]

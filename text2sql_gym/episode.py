"""The state of one episode as a record; every turn makes a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from text2sql_gym.matching import Gold
from text2sql_gym.protocols import Message
from text2sql_gym.sql_text import normalized
from text2sql_gym.types import (
    CallOutcome,
    EpisodeOutcome,
    Table,
    Task,
    ToolCall,
    Turn,
)

_RAN = (CallOutcome.OK, CallOutcome.TRUNCATED, CallOutcome.DUPLICATE)


@dataclass(frozen=True)
class Episode:
    """All that changes during an episode."""

    task: Task
    golds: tuple[Gold, ...]
    max_turns: int
    transcript: tuple[str, ...]
    history: tuple[Turn, ...] = ()
    outcome: EpisodeOutcome = EpisodeOutcome.NO_SUBMISSION

    @property
    def gold_tables(self) -> tuple[Table, ...]:
        """The result of every gold query."""
        return tuple(gold.table for gold in self.golds)

    @property
    def remaining_turns(self) -> int:
        """Turns that may still be taken."""
        return self.max_turns - len(self.history)

    @property
    def terminated(self) -> bool:
        """Whether a submission ended it."""
        return bool(self.history) and self.history[-1].result.final

    @property
    def truncated(self) -> bool:
        """Whether its turns ran out without a submission."""
        return not self.terminated and self.remaining_turns <= 0

    def after(
        self, action: str, turn: Turn, outcome: EpisodeOutcome, observation: str, reward: float
    ) -> Episode:
        """Return the episode with one more turn."""
        return replace(
            self,
            transcript=(*self.transcript, action, f"{observation}\n[reward {reward:+.3f}]"),
            history=(*self.history, turn),
            outcome=outcome,
        )

    def repeats(self, call: ToolCall) -> bool:
        """Whether `call` is, up to case, white space and comments, one that ran before.

        What failed before fails again, so it is left out: it may be a megabyte of anything.
        """
        ran = (turn.call for turn in self.history if turn.result.outcome in _RAN)
        return any(earlier is not None and _key(earlier) == _key(call) for earlier in ran)

    def info(self, reward_terms: dict[str, float], messages: Sequence[Message]) -> dict[str, Any]:
        """What `reset` and `step` return beside the observation: the same keys each time."""
        last = self.history[-1] if self.history else None
        return {
            "task_id": self.task.task_id,
            "database_id": self.task.database_id,
            "question": self.task.question,
            "difficulty": self.task.difficulty,
            "tool": last.call.tool if last and last.call else "",
            "call_outcome": str(last.result.outcome) if last else "",
            "error": (last.result.error or "") if last else "",
            "outcome": str(self.outcome),
            "reward_terms": reward_terms,
            "turn": len(self.history),
            "remaining_turns": self.remaining_turns,
            "messages": list(messages),
        }


def _key(call: ToolCall) -> tuple[str, frozenset[tuple[str, str]]]:
    return call.tool, frozenset((name, normalized(text)) for name, text in call.arguments.items())

"""The state of one episode as a record; every turn makes a new one."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from text2sql_gym.matching import Gold
from text2sql_gym.protocols import Message
from text2sql_gym.sql_text import normalized
from text2sql_gym.state import Trail
from text2sql_gym.types import (
    EXECUTED,
    EpisodeOutcome,
    Table,
    Task,
    ToolCall,
    Turn,
)


@dataclass(frozen=True)
class Episode:
    """All that changes during an episode.

    `messages` are those of the prompt and then, per turn, what was said and what answered it.
    """

    task: Task
    golds: tuple[Gold, ...]
    max_turns: int
    messages: tuple[Message, ...]
    trail: Trail
    tool_schemas: tuple[dict[str, Any], ...] = ()
    actions: tuple[str, ...] = ()
    history: tuple[Turn, ...] = ()
    rewards: tuple[float, ...] = ()
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

    @property
    def prompt(self) -> str:
        """What `reset` answered."""
        return prompt_text(self.messages[: -2 * len(self.history) or None])

    @property
    def transcript(self) -> tuple[str, ...]:
        """The prompt, and then each action and each observation with its reward."""
        answers = self.messages[len(self.messages) - 2 * len(self.history) :][1::2]
        shown = [self.prompt]
        for action, answer, reward in zip(self.actions, answers, self.rewards, strict=True):
            shown += [action, f"{answer['content']}\n[reward {reward:+.3f}]"]
        return tuple(shown)

    def after(
        self,
        action: str,
        turn: Turn,
        outcome: EpisodeOutcome,
        messages: tuple[Message, Message],
        reward: float,
    ) -> Episode:
        """Return the episode with one more turn; `messages` are that turn's, as in the episode."""
        answer = messages[1]["content"]
        return Episode(  # `replace` takes twice as long
            self.task,
            self.golds,
            self.max_turns,
            (*self.messages, *messages),
            self.trail.after(action, turn.result, outcome, answer, reward),
            self.tool_schemas,
            (*self.actions, action),
            (*self.history, turn),
            (*self.rewards, reward),
            outcome,
        )

    @property
    def ended(self) -> bool:
        """Whether no turn may be taken any more."""
        return self.remaining_turns <= 0 or self.terminated

    def repeats(self, call: ToolCall) -> bool:
        """Whether `call` is, up to case, white space and comments, one that ran before.

        What failed before fails again, so it is left out: it may be a megabyte of anything.
        """
        for turn in self.history:
            if turn.call is not None and turn.result.outcome in EXECUTED and _same(turn.call, call):
                return True
        return False

    def info(self, reward_terms: dict[str, float], messages: Sequence[Message]) -> dict[str, Any]:
        """What `reset` and `step` return beside the observation: the same keys each time."""
        last = self.history[-1] if self.history else None
        return {
            "task_id": self.task.task_id,
            "database_id": self.task.database_id,
            "question": self.task.question,
            "evidence": self.task.evidence,
            "difficulty": self.task.difficulty,
            "tool": last.call.tool if last and last.call else "",
            "call_outcome": str(last.result.outcome) if last else "",
            "error": (last.result.error or "") if last else "",
            "outcome": str(self.outcome),
            "reward_terms": reward_terms,
            "turn": len(self.history),
            "remaining_turns": self.remaining_turns,
            "messages": [dict(message) for message in messages],
            "tool_schemas": deepcopy(list(self.tool_schemas)) if self.tool_schemas else [],
            "state": self.trail.state,
        }


def prompt_text(messages: Sequence[Message]) -> str:
    """The messages of a prompt as one text, which is what `reset` answers."""
    return "\n\n".join(message["content"] for message in messages)


def _same(one: ToolCall, other: ToolCall) -> bool:
    if one.tool != other.tool or one.arguments.keys() != other.arguments.keys():
        return False
    pairs = zip(one.arguments.values(), map(other.arguments.get, one.arguments), strict=True)
    return all(normalized(text) == normalized(again or "") for text, again in pairs)

"""What was said and answered in an episode, as plain records that go to JSON and back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agents.credit import Credit
from agents.metrics import attempt_metrics, redundant
from agents.types import Group, Step, Trajectory
from text2sql_gym.types import Task


@dataclass(frozen=True)
class StepRecord:
    """One turn: what the policy wrote, what it was answered, what that earned."""

    text: str
    tool: str
    arguments: Mapping[str, str]
    result: str
    call_outcome: str
    redundant: bool
    outcome_reward: float
    process_reward: float
    reward_terms: Mapping[str, float]
    tokens: int


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt: how it ended, its `attempt_metrics`, the digest of its answer, its turns."""

    outcome: str
    ended: str
    numbers: Mapping[str, float]
    answer: str
    steps: tuple[StepRecord, ...]

    @property
    def sql(self) -> str:
        """The submitted query; "" without a submission."""
        last = self.steps[-1] if self.steps else None
        return last.arguments.get("sql", "") if last and last.tool == "submit" else ""


@dataclass(frozen=True)
class GroupRecord:
    """The attempts at one task: one greedy attempt, sampled ones that are compared, or both.

    `credit` is the advantage per step of each sampled attempt that the estimator of the run gave,
    summed over its tracks; empty where nothing was trained.
    """

    task_id: str
    database_id: str
    question: str
    difficulty: str
    gold_sql: tuple[str, ...]
    attempts: tuple[AttemptRecord, ...] = ()
    greedy: AttemptRecord | None = None
    credit: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, task: Task, sampled: Group | None = None, greedy: Group | None = None,
           credit: Credit = ()) -> GroupRecord:
        """Record what was tried at a task."""
        question = f"{task.question}\n{task.evidence}".strip()
        return cls(
            task.task_id, task.database_id, question, task.difficulty, task.gold_sql,
            tuple(map(record_attempt, sampled.attempts)) if sampled else (),
            record_attempt(greedy.attempts[0]) if greedy else None,
            summed(credit),
        )

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> GroupRecord:
        """The inverse of `as_json`."""
        found = json.loads(text)
        greedy = found["greedy"]
        return replace(
            cls(**found),
            gold_sql=tuple(found["gold_sql"]),
            attempts=tuple(map(_attempt, found["attempts"])),
            greedy=None if greedy is None else _attempt(greedy),
            credit=tuple(map(tuple, found["credit"])),
        )


def record_attempt(attempt: Trajectory) -> AttemptRecord:
    """Record an attempt without its token ids."""
    marks = redundant(attempt.steps)
    steps = tuple(_step(step, mark) for step, mark in zip(attempt.steps, marks, strict=True))
    answer = attempt.steps[-1].answer if attempt.steps else ""
    return AttemptRecord(
        attempt.outcome, str(attempt.ended), attempt_metrics(attempt), answer, steps
    )


def summed(credit: Credit) -> tuple[tuple[float, ...], ...]:
    """The weighted advantages of all tracks per step, 0 where a track's mask is off."""
    if not credit:
        return ()
    totals = [[0.0] * len(advantages_S) for advantages_S in credit[0].advantages_GS]
    for track in credit:
        for g, advantages_S in enumerate(track.advantages_GS):
            mask_S = track.mask_GS[g] if track.mask_GS else [True] * len(advantages_S)
            for s, advantage in enumerate(advantages_S):
                totals[g][s] += track.weight * float(advantage) if mask_S[s] else 0.0
    return tuple(map(tuple, totals))


class TranscriptFile:
    """One `GroupRecord` a line; whole chunks of lines, so that a killed run goes on from them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[GroupRecord]:
        """All whole lines; [] without a file."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").split("\n")[:-1]
        return list(map(GroupRecord.from_json, lines))

    def write(self, records: Iterable[GroupRecord]) -> None:
        """Replace the file by these records, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".partial-{self.path.name}")
        text = "".join(f"{record.as_json()}\n" for record in records)
        partial.write_text(text, encoding="utf-8", errors="replace")
        os.replace(partial, self.path)

    def append(self, records: Sequence[GroupRecord]) -> None:
        """Add records at the end, and flush them."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8", errors="replace") as file:
            file.write("".join(f"{record.as_json()}\n" for record in records))
            file.flush()
            os.fsync(file.fileno())


def _step(step: Step, mark: bool) -> StepRecord:
    return StepRecord(
        step.completion.text, step.tool, dict(step.arguments), step.observation,
        step.call_outcome, mark, step.outcome_reward, step.process_reward,
        dict(step.reward_terms), len(step.completion.token_ids),
    )


def _attempt(found: dict[str, Any]) -> AttemptRecord:
    return AttemptRecord(**{**found, "steps": tuple(StepRecord(**s) for s in found["steps"])})

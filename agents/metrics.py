"""What is measured of rollouts: one function per table of numbers, and the file they go to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.types import Ended, Group, Step, Trajectory
from text2sql_gym.types import CallOutcome

_ERRORS = (
    CallOutcome.SQL_ERROR,
    CallOutcome.TIMEOUT,
    CallOutcome.NOT_ALLOWED,
    CallOutcome.MALFORMED,
)


def rollout_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Means over attempts.

    ex                execution match, share of attempts whose submission is right
    pass_at_group     share of tasks with at least one right attempt
    calls             tool calls per attempt, the submission and malformed turns left out
    redundant_calls   calls per attempt that `redundant` names: repeats, and what shows nothing new
    error_calls       turns per attempt that ended in an error, a refusal or a malformed action
    sampled_tokens    tokens sampled per attempt
    submitted         share of attempts that ended with a submission
    process_reward    process reward per step
    """
    attempts = [attempt for group in groups for attempt in group.attempts]
    rows = [attempt_metrics(attempt) for attempt in attempts]
    table = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    passed = [any(a.outcome == "match" for a in group.attempts) for group in groups]
    steps = [step.process_reward for attempt in attempts for step in attempt.steps]
    table["pass_at_group"] = float(np.mean(passed))
    table["process_reward"] = float(np.mean(steps))
    return table


def attempt_metrics(attempt: Trajectory) -> dict[str, float]:
    """The numbers of one attempt; `rollout_metrics` says what they mean."""
    errors = sum(step.call_outcome in _ERRORS for step in attempt.steps)
    return {
        "ex": float(attempt.outcome == "match"),
        "calls": float(sum(map(is_call, attempt.steps))),
        "redundant_calls": float(sum(redundant(attempt.steps))),
        "error_calls": float(errors),
        "sampled_tokens": float(sum(len(step.completion.token_ids) for step in attempt.steps)),
        "submitted": float(attempt.ended is Ended.SUBMITTED),
    }


def is_call(step: Step) -> bool:
    """Whether a turn was a tool call: no submission, and well formed."""
    return step.tool not in ("", "submit") and step.call_outcome != CallOutcome.MALFORMED


def redundant(steps: Sequence[Step]) -> list[bool]:
    """For each turn, whether it is a call that a policy with a memory could have left out.

    A call (see `is_call`) is redundant when

    - it repeats an earlier call of the attempt, up to case, white space and comments
      (`CallOutcome.DUPLICATE`); or
    - it was answered with what an earlier call had been answered already: the same columns and
      rows as shown, read from the same tables, or the same error. So is a repeat of a call that
      failed.

    So the first look at anything is never redundant, needed or not: the gold query does not
    enter. Nor is a call that shows a part of what was seen, since which part is news. A call in
    error may be redundant too, and then counts as both.
    """
    found: list[bool] = []
    seen: set[str] = set()
    for step in steps:
        known = step.call_outcome == CallOutcome.DUPLICATE or step.shown in seen
        found.append(is_call(step) and known)
        seen |= {step.shown} - {""}
    return found


class MetricsFile:
    """``metrics.jsonl``: one JSON object a line, flushed as written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """All whole lines; a last line cut short by a kill is left out."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def keep(self, lines: int) -> None:
        """Drop everything after the first `lines` lines, atomically."""
        records = self.read()[:lines]
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        os.replace(partial, self.path)

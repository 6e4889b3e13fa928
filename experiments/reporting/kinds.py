"""Turns and rewards by kind of turn, before and after training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agents.types import Ended
from experiments.transcripts import AttemptRecord, StepRecord
from text2sql_gym.types import CallOutcome

KINDS = (
    "call that shows something new",
    "redundant call",
    "call in error",
    "malformed turn",
    "right answer",
    "wrong answer",
    "answer that fails",
)
"""Every turn is of one kind; a redundant call in error is a call in error."""

_FAILED = (CallOutcome.SQL_ERROR, CallOutcome.TIMEOUT, CallOutcome.NOT_ALLOWED)


def kind_of(step: StepRecord, attempt: AttemptRecord) -> str:
    """The kind of a turn, one of `KINDS`."""
    if step.call_outcome == CallOutcome.MALFORMED:
        return "malformed turn"
    failed = step.call_outcome in _FAILED
    if step.tool == "submit":
        if failed:
            return "answer that fails"
        return "right answer" if attempt.outcome == "match" else "wrong answer"
    if failed:
        return "call in error"
    return "redundant call" if step.redundant else "call that shows something new"


@dataclass(frozen=True)
class Kind:
    """The turns of one kind: how many per episode, and the mean of each reward term on them."""

    name: str
    per_episode: float
    terms: Mapping[str, float]


def kinds(attempts: Sequence[AttemptRecord]) -> dict[str, Kind]:
    """Each kind that occurs, in the order of `KINDS`; nothing without attempts."""
    found: dict[str, list[StepRecord]] = {}
    for attempt in attempts:
        for step in attempt.steps:
            found.setdefault(kind_of(step, attempt), []).append(step)
    return {
        name: Kind(name, len(found[name]) / len(attempts), dict(_means(found[name])))
        for name in KINDS
        if name in found
    }


def endings(attempts: Sequence[AttemptRecord]) -> dict[str, float]:
    """The share of attempts by how they ended, each `Ended` in turn; `attempts` are some."""
    ended = [attempt.ended for attempt in attempts]
    return {str(how): ended.count(how) / len(ended) for how in Ended}


def _means(steps: Sequence[StepRecord]) -> Iterator[tuple[str, float]]:
    for name in dict.fromkeys(name for step in steps for name in step.reward_terms):
        yield name, sum(step.reward_terms.get(name, 0.0) for step in steps) / len(steps)

"""Evaluate any policy on any tasks: greedy, pass@k and majority vote, as a row of numbers per task.

An evaluation has two halves. `attempt` lets a policy try every task and writes what happened to a
file, chunk by chunk, so that it can be stopped and resumed; `judge` turns that file into numbers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agents.types import Group
from experiments.scoring import Scored, score_answers
from experiments.transcripts import AttemptRecord, GroupRecord, TranscriptFile
from text2sql_gym.types import EpisodeOutcome, Limits, Task

Numbers = npt.NDArray[np.float64]

GREEDY = ("ex", "calls", "redundant_calls", "error_calls", "sampled_tokens", "submitted")
"""The numbers of the greedy attempt, see `agents.metrics.rollout_metrics`."""

SAMPLED = ("pass_at_k", "majority_vote", "sampled_ex")
"""The numbers of the k sampled attempts, see `vote` and `judge`."""


class Player(Protocol):
    """Whatever can attempt tasks: a model with its sampler, an endpoint, a script."""

    def __call__(
        self,
        task_ids: Sequence[str],
        group_size: int,
        temperature: float,
        seed: int,
        on_done: Callable[[], None],
    ) -> Mapping[str, Group]:
        """Attempt each task `group_size` times; `on_done` is called after every attempt.

        Temperature 0 is greedy. A task whose prompt does not fit is left out of the answer.
        """


@dataclass(frozen=True)
class Plan:
    """How tasks are attempted: once greedily, and `samples` times at `temperature`.

    `chunk` tasks are attempted at a time; it decides what is lost by a kill, and the draws.
    """

    samples: int = 0
    temperature: float = 1.0
    seed: int = 0
    chunk: int = 100

    def __post_init__(self) -> None:
        if self.samples < 0 or self.temperature < 0 or self.chunk < 1:
            raise ValueError(f"expected samples, temperature >= 0 and chunk >= 1, got {self}")

    def episodes(self, tasks: int) -> int:
        """Attempts in all."""
        return tasks * (1 + self.samples)


def attempt(
    tasks: Sequence[Task],
    player: Player,
    plan: Plan,
    file: TranscriptFile,
    on_done: Callable[[], None] = lambda: None,
) -> list[GroupRecord]:
    """Let a policy try every task; return a record per task, in order.

    Chunks that `file` holds already are not attempted again, and `on_done` is called for their
    attempts at once. A file of other tasks or another number of samples is refused with a
    ValueError. A task whose prompt does not fit has no attempts.
    """
    records = _kept(file, tasks, plan)
    for _ in range(plan.episodes(len(records))):
        on_done()
    for start in range(len(records), len(tasks), plan.chunk):
        made = _chunk(tasks[start : start + plan.chunk], player, plan, start, on_done)
        file.append(made)
        records += made
    return records


def _kept(file: TranscriptFile, tasks: Sequence[Task], plan: Plan) -> list[GroupRecord]:
    """The whole chunks of the file; what a kill left of another is removed."""
    found = file.read()
    if [record.task_id for record in found] != [task.task_id for task in tasks[: len(found)]]:
        raise ValueError(f"{file.path} holds attempts at other tasks; remove it to begin anew")
    if any(record.attempts and len(record.attempts) != plan.samples for record in found):
        raise ValueError(f"{file.path} holds another number of samples; remove it to begin anew")
    if len(found) < len(tasks):
        found = found[: len(found) // plan.chunk * plan.chunk]
        if file.path.exists():
            file.write(found)
    return found


def _chunk(
    tasks: Sequence[Task], player: Player, plan: Plan, start: int, on_done: Callable[[], None]
) -> list[GroupRecord]:
    ids = [task.task_id for task in tasks]
    seed = (plan.seed << 20) + start
    greedy = player(ids, 1, 0.0, seed, on_done)
    sampled: Mapping[str, Group] = {}
    if plan.samples:
        sampled = player(ids, plan.samples, plan.temperature, seed + 1, on_done)
    return [
        GroupRecord.of(task, sampled.get(task.task_id), greedy.get(task.task_id)) for task in tasks
    ]


@dataclass(frozen=True)
class Evaluation:
    """A row of numbers per task, with what the tables are grouped by.

    A task whose prompt does not fit the model's context counts as a failure without calls;
    `too_long` says how many those are. `samples` is the k of pass@k, 0 without sampled attempts.
    `tables` counts the tables that the gold query reads, 0 where that is not known.
    """

    task_ids: tuple[str, ...]
    difficulties: tuple[str, ...]
    tables: tuple[int, ...]
    rows: tuple[dict[str, float], ...]
    too_long: int
    samples: int

    def as_json(self) -> str:
        """The inverse of `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """Read what `as_json` wrote."""
        found = json.loads(text)
        lists = ("task_ids", "difficulties", "tables", "rows")
        return cls(**{**found, **{name: tuple(found[name]) for name in lists}})

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the numbers, in the order of a table."""
        return tuple(self.rows[0]) if self.rows else ()

    def column(self, name: str) -> Numbers:
        """One number per task."""
        return np.array([row[name] for row in self.rows])


def judge(
    tasks: Sequence[Task],
    records: Sequence[GroupRecord],
    limits: Limits,
    scores: Sequence[str] = ("soft_f1",),
) -> Evaluation:
    """Turn the attempts at `tasks` into numbers; `scores` are matchers beside the environment's.

    Of the sampled attempts: pass_at_k is 1 when one of them is right, sampled_ex the share of
    right ones, majority_vote whether the answer that most of them agree on is right.
    """
    answers = {record.task_id: record.greedy.sql for record in records if record.greedy}
    scored = score_answers(tasks, answers, scores, limits)
    samples = max((len(record.attempts) for record in records), default=0)
    rows = [_row(record, one, samples) for record, one in zip(records, scored, strict=True)]
    return Evaluation(
        tuple(task.task_id for task in tasks),
        tuple(task.difficulty for task in tasks),
        tuple(one.tables for one in scored),
        tuple(rows),
        sum(record.greedy is None for record in records),
        samples,
    )


def _row(record: GroupRecord, scored: Scored, samples: int) -> dict[str, float]:
    greedy = record.greedy.numbers if record.greedy else dict.fromkeys(GREEDY, 0.0)
    row = {"ex": greedy["ex"], **scored.scores}
    if samples:
        right = [right_answer(one) for one in record.attempts]
        winner = vote(record.attempts)
        row["pass_at_k"] = float(any(right))
        row["majority_vote"] = float(winner is not None and right_answer(winner))
        row["sampled_ex"] = float(np.mean(right)) if right else 0.0
    return row | {name: greedy[name] for name in GREEDY[1:]}


def right_answer(one: AttemptRecord) -> bool:
    """Whether an attempt's answer matches the gold by the environment's matcher."""
    return one.outcome == EpisodeOutcome.MATCH


def vote(attempts: Sequence[AttemptRecord]) -> AttemptRecord | None:
    """The attempt whose result most attempts agree on, the first of them; no gold is used.

    Results agree when they have the same rows in any order (`agents.digests.answer_digest`). An
    attempt without a result has no vote; the earliest result wins a tie; None when nobody votes.
    """
    votes = [one for one in attempts if one.answer]
    if not votes:
        return None
    winner, _ = Counter(one.answer for one in votes).most_common(1)[0]
    return next(one for one in votes if one.answer == winner)

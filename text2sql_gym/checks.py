"""Run every gold query of a dataset and report those that cannot earn the full reward.

    python -m text2sql_gym.checks --dataset spider --data-dir data/spider --split dev

With ``--episodes`` every gold query is submitted in an episode of the environment instead: slower,
and it leaves no part out.

Exits with 0 when every task can earn the full reward, 1 when some cannot, 2 when the dataset
cannot be loaded.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from text2sql_gym.backends import open_backend
from text2sql_gym.backends.base import Backend
from text2sql_gym.datasets import DATASETS, load_tasks
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.errors import EnvironmentFault, GoldError, Text2SQLError, ToolError
from text2sql_gym.matching import MATCHERS, Matcher
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.registry import lookup
from text2sql_gym.types import CallOutcome, EpisodeOutcome, Limits, Task


class Problem(StrEnum):
    """What is wrong with a gold query."""

    DATABASE = "database"  # the database cannot be opened
    NO_GOLD = "no_gold"  # the task has no gold query
    ERROR = "error"  # the engine or the guard refuses it
    TIMEOUT = "timeout"  # it exceeds the limit on steps or time
    TOO_LARGE = "too_large"  # its result is cut: more rows, cells or bytes than are compared
    UNREWARDED = "unrewarded"  # submitted as an answer, it does not match itself
    UNPROVED = "unproved"  # no rows where the matcher looks, and the task says this proves nothing
    EMPTY = "empty"  # no rows: many other queries have none either
    VOLATILE = "volatile"  # it reads the clock or draws random numbers


WARNINGS = frozenset({Problem.EMPTY, Problem.VOLATILE})
"""Problems of a gold that still earns the full reward."""


@dataclass(frozen=True)
class Finding:
    """One problem of one gold query of one task; `sql` is empty where the task has none."""

    task_id: str
    problem: Problem
    detail: str
    sql: str = ""


@dataclass(frozen=True)
class Report:
    """What was checked and what was found, in the order of the tasks."""

    tasks: int
    findings: tuple[Finding, ...]

    @property
    def without_full_reward(self) -> tuple[str, ...]:
        """The ids of the tasks with a problem that is no warning, each once."""
        failed = [found.task_id for found in self.findings if found.problem not in WARNINGS]
        return tuple(dict.fromkeys(failed))

    def summary(self) -> str:
        """One line: tasks, how many cannot earn the full reward, golds by problem."""
        counts = Counter(found.problem for found in self.findings)
        problems = [f"{problem} {counts[problem]}" for problem in Problem if counts[problem]]
        return (
            f"{self.tasks} tasks, {len(self.without_full_reward)} cannot earn the full reward; "
            f"problems: {', '.join(problems) or 'none'}"
        )


def check_tasks(
    tasks: Iterable[Task], matcher: str | Matcher = "strict", limits: Limits = Limits()
) -> Report:
    """Run every gold query under `limits` and submit it to `matcher` against itself.

    A task without gold, or with any gold that fails, cannot earn the full reward. Each database
    is opened once.
    """
    rule = lookup(MATCHERS, matcher, "matcher")() if isinstance(matcher, str) else matcher
    tasks = tuple(tasks)
    found: dict[str, list[Finding]] = {}
    for url in dict.fromkeys(task.database for task in tasks):
        group = [task for task in tasks if task.database == url]
        for finding in _check_database(url, group, rule, limits):
            found.setdefault(finding.task_id, []).append(finding)
    ids = dict.fromkeys(task.task_id for task in tasks)
    return Report(len(tasks), tuple(one for task_id in ids for one in found.get(task_id, ())))


def _check_database(
    url: str, tasks: Sequence[Task], matcher: Matcher, limits: Limits
) -> Iterator[Finding]:
    try:
        backend = open_backend(url, limits)
    except EnvironmentFault as error:
        yield from (Finding(task.task_id, Problem.DATABASE, str(error)) for task in tasks)
        return
    with closing(backend):
        for task in tasks:
            if not task.gold_sql:
                yield Finding(task.task_id, Problem.NO_GOLD, "the task has no gold query")
            for sql in task.gold_sql:
                for problem, detail in _check_gold(sql, task, backend, matcher, limits):
                    yield Finding(task.task_id, problem, detail, sql)


def _check_gold(
    sql: str, task: Task, backend: Backend, matcher: Matcher, limits: Limits
) -> Iterator[tuple[Problem, str]]:
    """Yield the problems of one gold query; one that fails has no further ones."""
    try:
        table = backend.execute(sql, max_rows=limits.compared_rows)
        if not table.complete:
            yield Problem.TOO_LARGE, f"more than {len(table.rows)} rows are not compared"
            return
        gold = matcher.prepare(sql, backend, limits)
    except ToolError as error:
        timed_out = error.outcome is CallOutcome.TIMEOUT
        yield Problem.TIMEOUT if timed_out else Problem.ERROR, str(error)
        return
    except GoldError as error:
        yield Problem.ERROR, str(error)
        return
    score = matcher(sql, table, gold, backend, limits)
    if score < 1.0:
        yield Problem.UNREWARDED, f"submitted as an answer it scores {score}"
    if task.empty_proves_nothing and gold.is_empty:
        yield Problem.UNPROVED, "no rows, and the task has empty_proves_nothing"
    elif not table.rows:
        yield Problem.EMPTY, "no rows"
    if names := _volatile_parts(sql):
        yield Problem.VOLATILE, f"depends on {', '.join(names)}"


def play_tasks(
    tasks: Iterable[Task], matcher: str | Matcher = "strict", limits: Limits = Limits()
) -> Report:
    """Submit every gold query in an episode of its own, through the whole environment.

    Finds golds whose task cannot be reset to (`ERROR`) and golds whose episode does not end as a
    match with the full outcome reward (`UNREWARDED`); it gives no warnings.
    """
    tasks = tuple(tasks)
    with closing(Text2SQLEnv(tasks=tasks, matcher=matcher, limits=limits, max_turns=1)) as env:
        return Report(len(tasks), tuple(found for task in tasks for found in _play(task, env)))


def _play(task: Task, env: Text2SQLEnv) -> Iterator[Finding]:
    if not task.gold_sql:
        yield Finding(task.task_id, Problem.NO_GOLD, "the task has no gold query")
    for sql in task.gold_sql:
        try:
            env.reset(options={"task_id": task.task_id})
        except EnvironmentFault as error:
            yield Finding(task.task_id, Problem.ERROR, str(error), sql)
            continue
        *_, info = env.step(FineStep.answer("the gold query", sql))
        paid = info["reward_terms"]["execution_match"]
        if info["outcome"] != EpisodeOutcome.MATCH or paid < 1.0:
            detail = f"its episode ends as {info['outcome']} {info['error']}".rstrip()
            yield Finding(task.task_id, Problem.UNREWARDED, detail, sql)


_LITERAL = re.compile(r"'(?!now')[^']*'", re.IGNORECASE)
_VOLATILE = re.compile(
    r"\bcurrent_(?:date|time|timestamp)\b|\brandom(?:blob)?\s*\(|(?<=[(,])\s*'now'|"
    r"\b(?:date|time|datetime|julianday|unixepoch)\s*\(\s*\)",
    re.IGNORECASE,
)


def _volatile_parts(sql: str) -> list[str]:
    """Name what reads the clock or draws random numbers, outside of literals."""
    return sorted({part.strip().lower() for part in _VOLATILE.findall(_LITERAL.sub("''", sql))})


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m text2sql_gym.checks", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--dataset", default="synthetic", help=f"one of {', '.join(DATASETS)}")
    parser.add_argument("--data-dir", help="the folder with the dataset's files")
    parser.add_argument("--split", default="train")
    parser.add_argument("--matcher", default="strict", help=f"one of {', '.join(MATCHERS)}")
    parser.add_argument("--limits", type=json.loads, default={}, help='JSON, as {"seconds": 10}')
    parser.add_argument(
        "--options",
        type=json.loads,
        default={},
        help='options of the loader as JSON, as {"skip_missing_databases": true}',
    )
    parser.add_argument("--episodes", action="store_true", help="play every gold as an episode")
    parser.add_argument("--show", type=int, default=20, help="findings to print, -1 for all")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Check one split, print findings and a summary, and return the exit code."""
    given = _parse(argv)
    try:
        options: dict[str, Any] = given.options
        tasks = load_tasks(given.dataset, given.data_dir, given.split, **options)
        check = play_tasks if given.episodes else check_tasks
        report = check(tasks, given.matcher, Limits(**given.limits))
    except Text2SQLError as error:
        print(error, file=sys.stderr)
        return 2
    shown = report.findings if given.show < 0 else report.findings[: given.show]
    for found in shown:
        print(f"{found.task_id}: {found.problem}: {found.detail}\n    {found.sql}")
    if len(shown) < len(report.findings):
        print(f"... and {len(report.findings) - len(shown)} more; --show -1 prints all")
    print(report.summary())
    return 1 if report.without_full_reward else 0


if __name__ == "__main__":
    sys.exit(main())

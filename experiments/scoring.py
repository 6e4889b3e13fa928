"""Score submitted queries by further rules than the one the environment judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from text2sql_gym.backends import open_backend
from text2sql_gym.backends.base import Backend
from text2sql_gym.errors import ToolError
from text2sql_gym.golds import gold_results
from text2sql_gym.matching import MATCHERS, Matcher
from text2sql_gym.registry import lookup
from text2sql_gym.types import Limits, Task


@dataclass(frozen=True)
class Scored:
    """The scores of one answer by name, and how many tables its gold query reads.

    `tables` is 0 for a task without gold, and where the engine does not report what is read.
    """

    scores: Mapping[str, float]
    tables: int


def score_answers(
    tasks: Sequence[Task], answers: Mapping[str, str], names: Sequence[str], limits: Limits
) -> list[Scored]:
    """Score the answer to each task by the `MATCHERS` called `names`, best over its golds.

    `answers` has queries by task id; a missing or failing one, and a task without gold, scores
    0. Ranges are the matchers', but for "r_ves", which is BIRD's figure: 100 * sqrt(score), in
    [0, 111.8]. Each database is opened once; several golds count as by their smallest number of
    tables. Raises `GoldError` when a gold query fails.
    """
    rules = {name: lookup(MATCHERS, name, "matcher")() for name in names}
    found: dict[str, Scored] = {}
    for url in dict.fromkeys(task.database for task in tasks):
        with closing(open_backend(url, limits)) as backend:
            for task in (task for task in tasks if task.database == url):
                sql = answers.get(task.task_id, "")
                found[task.task_id] = _score(task, sql, rules, backend, limits)
    return [found[task.task_id] for task in tasks]


def _score(
    task: Task, sql: str, rules: Mapping[str, Matcher], backend: Backend, limits: Limits
) -> Scored:
    golds = gold_results(task, MATCHERS["soft_f1"](), backend, limits)
    read = [len({table for table, _ in gold.table.reads}) for gold in golds]
    scores = {name: _by(rule, task, sql, backend, limits) for name, rule in rules.items()}
    if "r_ves" in scores:
        scores["r_ves"] = 100 * math.sqrt(scores["r_ves"])
    return Scored(scores, min(read, default=0))


def _by(rule: Matcher, task: Task, sql: str, backend: Backend, limits: Limits) -> float:
    if not sql.strip():
        return 0.0
    try:
        table = backend.execute(sql, max_rows=limits.compared_rows)
    except ToolError:
        return 0.0
    golds = gold_results(task, rule, backend, limits)
    return max((rule(sql, table, gold, backend, limits) for gold in golds), default=0.0)

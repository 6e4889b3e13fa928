"""Which tasks a run trains on and is evaluated on, and the environment it holds them in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from agents.warmstart import epochs
from experiments.config import Config
from text2sql_gym.datasets import load_tasks
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.matching.strict import Strict
from text2sql_gym.protocols import PROTOCOLS, AgentProtocol
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.types import Limits, Task

SPLITS = {
    "synthetic": ("train", "unseen"),
    "spider": ("train", "dev"),
    "bird": ("train", "dev"),
    "own": ("train", "test"),
    "records": ("train", "dev"),
}
"""Training and evaluation split of each dataset. Their databases are disjoint, but for `own` with
fewer than three databases."""

LONE_QUESTIONS = 400
"""Questions made about a single database of `own`, as far as its schema and values give so many."""


@cache
def load_split(config: Config, which: int) -> tuple[Task, ...]:
    """The training (0) or evaluation (1) tasks of the configured dataset."""
    split = SPLITS[config.dataset][which]
    if which == 1 and config.eval_split:
        split = config.eval_split
    if config.dataset == "synthetic":
        tasks = _synthetic(config, split)
    else:
        alone = config.dataset == "own" and config.data_dir and config.data_dir.is_file()
        more = {"questions_per_database": LONE_QUESTIONS} if alone else {}
        tasks = load_tasks(config.dataset, config.data_dir, split, **more)
        if which == 0 and config.generated:
            tasks += _generated(config, tasks)
    grades = config.grades.split(",")
    chosen = tuple(task for task in tasks if not config.grades or task.difficulty in grades)
    if not chosen:
        found = sorted({task.difficulty for task in tasks})
        raise SystemExit(f"--grades: no task of {split} is {config.grades}; there are {found}")
    return chosen


def evaluated(config: Config) -> tuple[Task, ...]:
    """The tasks that a run is evaluated on: so many, drawn by its seed."""
    tasks = load_split(config, 1)
    order = epochs(len(tasks), config.seed, 0)
    return tuple(tasks[next(order)] for _ in range(min(config.eval_tasks, len(tasks))))


def _synthetic(config: Config, split: str) -> tuple[Task, ...]:
    """A split, or "unseen": the databases of the training domains behind the first `databases`."""
    of_training = split in ("train", "unseen")
    tasks = load_tasks(
        "synthetic",
        config.data_dir,
        "train" if of_training else split,
        databases=config.databases + config.unseen_databases if of_training else None,
        questions_per_database=config.questions,
        templates=config.templates.split(",") if config.templates else (),
    )
    if not of_training:
        return tasks
    order = list(dict.fromkeys(task.database_id for task in tasks))
    some = order[config.databases :] if split == "unseen" else order[: config.databases]
    chosen = set(some)
    return tuple(task for task in tasks if task.database_id in chosen)


def _generated(config: Config, tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Questions made about the databases of these tasks, which are SQLite files in one folder."""
    files = {Path(task.database) for task in tasks}
    folder = Path(os.path.commonpath([str(file.parent) for file in files]))
    names = sorted({file.stem for file in files})
    return load_tasks(
        "own", folder, "all", database_ids=names, questions_per_database=config.generated
    )


def make_env(config: Config, tasks: Sequence[Task]) -> Text2SQLEnv:
    """The environment of the run, with short prompts for a small model made from nothing."""
    if config.model:
        protocol: AgentProtocol = PROTOCOLS[config.protocol]()
        limits = Limits(shown_rows=config.shown_rows)
    else:
        more = ("propose_schema",) if config.propose else ()
        protocol = FineStep(style="compact", tools=("execute_sql", *more, "submit"))
        limits = Limits(shown_rows=config.shown_rows, shown_cell_characters=40, seconds=2.0)
    return Text2SQLEnv(
        tasks=tasks,
        protocol=protocol,
        matcher=Strict(variants=config.copies, witness="empty" if config.copies else "never"),
        rewards=config.rewards,
        max_turns=config.max_turns,
        limits=limits,
    )

"""BIRD (Li et al. 2023): train, dev, mini-dev, and the Arcwise-Plat corrections of mini-dev."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from text2sql_gym.datasets.layout import (
    first_existing,
    golds_of,
    read_records,
    require_dir,
    text_of,
    with_databases,
)
from text2sql_gym.errors import DatasetError
from text2sql_gym.registry import lookup
from text2sql_gym.types import Task

_HOW = (
    "BIRD: https://bird-bench.github.io; unpack it, with the archive of databases inside, so that "
    "the folder holds dev.json beside dev_databases/<db_id>/<db_id>.sqlite (train.json beside "
    "train_databases/...)."
)

SPLITS: Mapping[str, str] = {
    "train": "train.json",
    "dev": "dev.json",
    "mini_dev": "mini_dev_sqlite.json",
    "arcwise_sql": "arcwise_plat_sql_only.json",
    "arcwise_full": "arcwise_plat_full.json",
}
"""The question file of each split. Arcwise-Plat corrects the gold queries (`arcwise_sql`) or
also questions and evidence (`arcwise_full`) of mini-dev."""

_FOLDERS = (
    ".",
    "bird",
    "bird_train",
    "train",
    "dev",
    "dev_20240627",
    "MINIDEV",
    "minidev/MINIDEV",
    "../bird_train",
)
"""Where a question file may lie, relative to `data_dir`: the folder itself, the folders that the
official archives unpack to, and a sibling ``bird_train``."""

_TIED = "dev_tied_append.json"


def load_bird(
    data_dir: Path | str | None,
    split: str = "dev",
    *,
    tied: bool = False,
    skip_missing_databases: bool = False,
) -> tuple[Task, ...]:
    """Load one split (see `SPLITS`) in the order of its file, with evidence and difficulty.

    `data_dir` is BIRD's folder or its parent. The id ends in BIRD's ``question_id``, or in the
    position in the file where there is none (train). The column descriptions lie in
    ``database_description`` beside each database and are read with its schema.

    Records with the same ``question_id`` are one task that accepts the query of each: the archive
    of mini-dev has two records twice.

    tied                    also accept the queries of ``dev_tied_append.json`` beside dev.json,
                            which answer a question with several best answers by all of them;
                            BIRD's own evaluation does not read that file
    skip_missing_databases  leave out questions whose database is missing, instead of an error

    Raises `DatasetError` when two records with one id ask different questions.
    """
    file = lookup(SPLITS, split, "split of bird")
    folder = require_dir(data_dir, "bird", _HOW)
    path = first_existing([folder / sub / file for sub in _FOLDERS], "bird", _HOW).resolve()
    tasks = _tasks(path, split)
    if tied:
        more = _tasks(first_existing([path.parent / _TIED], "bird", _HOW), split)
        tasks = {name: _joined(task, more.get(name, task)) for name, task in tasks.items()}
    return with_databases(tasks.values(), "bird", _HOW, skip_missing=skip_missing_databases)


def _tasks(path: Path, split: str) -> dict[str, Task]:
    """Read one file; records with the same id are one task."""
    databases = path.parent / ("train_databases" if split == "train" else "dev_databases")
    tasks: dict[str, Task] = {}
    for number, record in enumerate(read_records(path, _HOW)):
        name = f"bird/{split}/{record.get('question_id', number)}"
        task = _task(record, name, f"{path}, record {number}", databases)
        tasks[name] = _joined(tasks.get(name, task), task)
    return tasks


def _joined(first: Task, second: Task) -> Task:
    """Return `first`, accepting the queries of `second`, too."""
    if (first.question, first.database_id) != (second.question, second.database_id):
        raise DatasetError(f"{first.task_id}: two different questions have this id")
    return replace(first, gold_sql=tuple(dict.fromkeys((*first.gold_sql, *second.gold_sql))))


def _task(record: Mapping[str, Any], task_id: str, where: str, databases: Path) -> Task:
    db_id = text_of(record, ["db_id"], where)
    return Task(
        task_id=task_id,
        database=str(databases / db_id / f"{db_id}.sqlite"),
        question=text_of(record, ["question"], where).strip(),
        gold_sql=golds_of(record, ["SQL", "query"], where),
        evidence=str(record.get("evidence") or "").strip(),
        difficulty=str(record.get("difficulty") or ""),
        source="bird",
        database_id=db_id,
    )

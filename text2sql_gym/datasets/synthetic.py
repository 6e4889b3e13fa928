"""The embedded default: databases of many domains and questions about them, made from a seed.

The splits have different databases and different domains: what is learnt on one split can only be
copied, not recalled, on another. In a question, a value in double quotes is spelt as stored; a
value without quotes may be stored otherwise and must be looked up.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

from text2sql_gym.datasets.blueprint import draw_blueprint
from text2sql_gym.datasets.domains import DOMAINS
from text2sql_gym.datasets.populate import populate
from text2sql_gym.datasets.questions import make_questions, profile_database
from text2sql_gym.errors import DatasetError
from text2sql_gym.registry import lookup
from text2sql_gym.types import Task

VERSION = 6
"""Part of the cache folder's name; raised whenever the same seed gives other tasks."""

DATABASES: Mapping[str, int] = {"train": 200, "validation": 25, "test": 48}
"""Databases made of each split unless told otherwise."""

_INDEX = "tasks.jsonl"


def load_synthetic(
    data_dir: Path | str | None = None,
    split: str = "train",
    *,
    seed: int = 0,
    databases: int | None = None,
    questions_per_database: int = 12,
    templates: Sequence[str] = (),
) -> tuple[Task, ...]:
    """Load the tasks of a split, and make its databases on the first call.

    They are kept under `data_dir`, else under ``$TEXT2SQL_CACHE``, else under
    ``~/.cache/text2sql_gym``. Database number k of a split depends on the seed, the split and k
    only, its first questions not on how many are asked for.

    `Task.difficulty` is easy, medium, hard or extra; `Task.source` is ``synthetic/<template>``,
    where templates that need a look at the stored values are named ``lookup_...``.

    seed                    another seed makes other databases and questions
    databases               how many; None for what `DATABASES` says of the split
    questions_per_database  how many questions are asked of each
    templates               those of `questions.TEMPLATES` that are used; empty for all
    """
    lookup(DOMAINS, split, "split of synthetic")
    count = DATABASES[split] if databases is None else databases
    if count < 1 or questions_per_database < 1:
        raise DatasetError("synthetic: databases and questions_per_database must be at least 1")
    name = f"synthetic-v{VERSION}-seed{seed}-{split}-{count}x{questions_per_database}"
    if templates:
        name += f"-{zlib.crc32(' '.join(templates).encode()):08x}"
    folder = (Path(data_dir) if data_dir is not None else _cache()) / name
    if not (folder / _INDEX).is_file():
        _make_atomically(folder, split, seed, count, questions_per_database, templates)
    return tuple(_read(folder.resolve()))


def _cache() -> Path:
    chosen = os.environ.get("TEXT2SQL_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "text2sql_gym"


def _make_atomically(
    folder: Path, split: str, seed: int, count: int, questions: int, templates: Sequence[str]
) -> None:
    """Write beside `folder` and rename, so that it exists whole or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise DatasetError(
            f"synthetic: cannot write to {folder.parent}: {error}. "
            "Pass data_dir or set TEXT2SQL_CACHE to a folder that can be written."
        ) from error
    try:
        tasks = []
        for number in range(count):
            tasks += _make(unfinished, split, seed, number, questions, templates)
        lines = [json.dumps(asdict(task)) for task in tasks]
        (unfinished / _INDEX).write_text("\n".join(lines) + "\n", encoding="utf-8")
        _put_in_place(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _put_in_place(unfinished: Path, folder: Path) -> None:
    """Rename; where another process was faster, keep its folder: the contents are the same."""
    try:
        unfinished.rename(folder)
    except OSError:
        if not (folder / _INDEX).is_file():
            raise


def _make(
    folder: Path, split: str, seed: int, number: int, questions: int, templates: Sequence[str]
) -> list[Task]:
    """Make database `number` of the split and its tasks, with paths relative to `folder`."""
    random = Random(f"text2sql_gym synthetic {seed} {split} {number}")
    domain = sorted(DOMAINS[split])[number % len(DOMAINS[split])]
    database_id = f"{domain}_{number:03d}"
    file = folder / f"{database_id}.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        spoken = populate(connection, draw_blueprint(DOMAINS[split][domain], random), random)
        profile = profile_database(connection, spoken)
        made = make_questions(profile, connection, random, questions, templates)
    return [
        Task(
            task_id=f"synthetic/{split}/{database_id}/{place}",
            database=file.name,
            question=question.text,
            gold_sql=(question.sql,),
            difficulty=question.grade,
            source=f"synthetic/{question.template}",
            database_id=database_id,
        )
        for place, question in enumerate(made)
    ]


def _read(folder: Path) -> Iterator[Task]:
    """Read the index; a missing database or a broken line is a `DatasetError`."""
    present = {path.name for path in folder.iterdir()}
    for line in (folder / _INDEX).read_text(encoding="utf-8").splitlines():
        try:
            fields = json.loads(line)
            task = Task(**{**fields, "gold_sql": tuple(fields["gold_sql"])})
        except (ValueError, TypeError, KeyError) as error:
            raise DatasetError(f"{folder / _INDEX} is broken; delete {folder}") from error
        if task.database not in present:
            raise DatasetError(f"{folder / task.database} is missing; delete {folder}")
        yield replace(task, database=str(folder / task.database))

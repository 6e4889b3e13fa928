"""Tasks for any SQLite database: questions with gold SQL made from its own schema and values."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import TypeVar
from urllib.parse import quote

from text2sql_gym.datasets.questions import Question, make_questions, profile_database
from text2sql_gym.errors import DatasetError
from text2sql_gym.registry import lookup
from text2sql_gym.types import Task

_HOW = "Pass data_dir: an SQLite file, or a folder with SQLite files in it or below it."
_ENDINGS = (".sqlite", ".sqlite3", ".db")
_ENGINE_STEPS = 20_000_000  # per statement; slower golds are left out, the same ones each time

SPLITS = {"all": (0.0, 1.0), "train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}
"""The part of a seeded order of databases (of questions, with one or two databases) that each
split takes. `all` takes everything."""

_FEW = 3  # from this many databases on, splits share none

T = TypeVar("T")


def load_own(
    data_dir: Path | str | None,
    split: str = "all",
    *,
    seed: int = 0,
    questions_per_database: int = 40,
    database_ids: Sequence[str] | None = None,
) -> tuple[Task, ...]:
    """Make questions about the databases under `data_dir`; nothing is written.

    With three databases or more, the splits have different ones; with fewer, different questions
    about the same. A question asks about columns whose role is clear from their values, and about
    declared foreign keys without gaps; a database without any gives no tasks. `Task.difficulty` and
    `Task.source` are those of `synthetic`, with ``own/``.

    seed                    which questions are asked, and what falls into which split
    questions_per_database  how many at most; a small database gives fewer
    database_ids            file names without their ending that restrict the databases, for
                            example to those of a benchmark's training split; None for all

    Raises `DatasetError` when there is no database, or when a file is none.
    """
    low, high = lookup(SPLITS, split, "split of own")
    files = _files(data_dir, database_ids)
    if len(files) < _FEW:
        made = [task for file in files for task in _tasks(file, seed, questions_per_database)]
        return tuple(_part(made, low, high, seed))
    kept = _part(files, low, high, seed)
    return tuple(task for file in kept for task in _tasks(file, seed, questions_per_database))


def _files(data_dir: Path | str | None, database_ids: Sequence[str] | None) -> list[Path]:
    """Return the database files, sorted by id; each id must be one file."""
    if data_dir is None:
        raise DatasetError(f"own: data_dir is needed. {_HOW}")
    root = Path(data_dir).expanduser().resolve()
    if not root.exists():
        raise DatasetError(f"own: {root} does not exist. {_HOW}")
    found = [root] if root.is_file() else [f for f in root.rglob("*") if f.suffix in _ENDINGS]
    files = {file.stem: file for file in sorted(found)}
    if len(files) < len(found):
        raise DatasetError(f"own: two files below {root} have the same name without its ending")
    wanted = sorted(files) if database_ids is None else sorted(set(database_ids))
    if missing := [name for name in wanted if name not in files]:
        raise DatasetError(f"own: no database below {root} is named {', '.join(missing)}. {_HOW}")
    if not wanted:
        raise DatasetError(f"own: no file below {root} ends in {', '.join(_ENDINGS)}. {_HOW}")
    return [files[name] for name in wanted]


def _part(items: Sequence[T], low: float, high: float, seed: int) -> list[T]:
    """Return the items whose place in a seeded order lies in [low, high), in their own order."""
    places = list(range(len(items)))
    Random(f"text2sql_gym own {seed}").shuffle(places)
    first, last = round(low * len(items)), round(high * len(items))
    return [items[place] for place in sorted(places[first:last])]


def _tasks(file: Path, seed: int, count: int) -> list[Task]:
    random = Random(f"text2sql_gym own {seed} {file.stem}")
    return [
        Task(
            task_id=f"own/{file.stem}/{place}",
            database=str(file),
            question=question.text,
            gold_sql=(question.sql,),
            difficulty=question.grade,
            source=f"own/{question.template}",
            database_id=file.stem,
        )
        for place, question in enumerate(_questions(file, random, count))
    ]


def _questions(file: Path, random: Random, count: int) -> tuple[Question, ...]:
    """Open the file read-only and under a repeatable budget of engine steps per statement."""
    address = f"file:{quote(str(file))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            profile = profile_database(connection)
            connection.set_progress_handler(lambda: 1, _ENGINE_STEPS)
            return make_questions(profile, connection, random, count)
    except sqlite3.Error as error:
        problem = f"own: cannot read {file} as an SQLite database: {error}"
        raise DatasetError(f"{problem}. {_HOW}") from error

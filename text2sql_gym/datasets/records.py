"""Questions in one JSONL, JSON or parquet file, with the databases beside it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
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
from text2sql_gym.types import Task

_HOW = (
    "The folder holds <split>.jsonl, <split>.json or <split>.parquet with the keys db_id, "
    "question, SQL (or query), evidence and difficulty, and databases as "
    "database/<db_id>/<db_id>.sqlite."
)
_ENDINGS = (".jsonl", ".json", ".parquet")
_GOLD_KEYS = ("SQL", "query", "gold_sql", "sql")
_ID_KEYS = ("task_id", "question_id", "id")


def load_records(
    data_dir: Path | str | None,
    split: str,
    *,
    file: str | None = None,
    database_dir: str | None = None,
    skip_missing_databases: bool = False,
) -> tuple[Task, ...]:
    """Load ``<split>.jsonl`` (or .json, .parquet) below `data_dir`, or `file`.

    A record has the keys ``db_id`` and ``question``; ``SQL`` or ``query`` (one text or a list,
    absent for questions without gold), ``evidence``, ``difficulty`` and ``question_id`` are
    optional. Databases are looked for in `database_dir`, else in `data_dir` and its usual folders
    (``database``, ``databases``, ``<split>_databases``, ...), as ``<db_id>/<db_id>.sqlite`` or
    ``<db_id>.sqlite``.

    file                    the file with the questions, relative to `data_dir`; None for one that
                            is named after the split
    database_dir            the folder of the databases, relative to `data_dir`; None for the usual
    skip_missing_databases  leave out questions whose database is missing, instead of an error

    Raises `DatasetError` naming the file and line of a broken record.
    """
    root = require_dir(data_dir, "records", _HOW)
    names = [file] if file is not None else [split + ending for ending in _ENDINGS]
    path = first_existing([root / name for name in names], "records", _HOW)
    folders = _folders(root, split) if database_dir is None else [root / database_dir]
    tasks = [
        _task(record, f"{path}, record {number}", f"records/{split}/{number}", folders)
        for number, record in enumerate(_read(path))
    ]
    _refuse_repeated_ids(tasks, path)
    return with_databases(tasks, "records", _HOW, skip_missing=skip_missing_databases)


def _folders(root: Path, split: str) -> list[Path]:
    names = ("database", "databases", f"{split}_databases", "dev_databases", "train_databases")
    return [*(root / name for name in names), root]


def _read(path: Path) -> Sequence[Mapping[str, Any]]:
    if path.suffix == ".jsonl":
        return _read_lines(path)
    return _read_parquet(path) if path.suffix == ".parquet" else read_records(path, _HOW)


def _read_lines(path: Path) -> list[Mapping[str, Any]]:
    records: list[Mapping[str, Any]] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}. {_HOW}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DatasetError(f"{path}, line {number}: {error}") from error
        if not isinstance(record, dict):
            raise DatasetError(f"{path}, line {number}: expected a JSON object")
        records.append(record)
    return records


def _read_parquet(path: Path) -> list[Mapping[str, Any]]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        how = "pip install 'text2sql-gym[parquet]'"
        raise DatasetError(f"{path}: parquet needs pyarrow: {how}") from error
    try:
        rows: list[Mapping[str, Any]] = parquet.read_table(path).to_pylist()
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from ValueError
        raise DatasetError(f"cannot read {path}: {error}. {_HOW}") from error
    return rows


def _task(record: Mapping[str, Any], where: str, number_id: str, folders: list[Path]) -> Task:
    db_id = text_of(record, ["db_id"], where)
    tails = (Path(db_id) / f"{db_id}.sqlite", Path(f"{db_id}.sqlite"))
    paths = [folder / tail for folder in folders for tail in tails]
    named = next((record[key] for key in _ID_KEYS if record.get(key) is not None), None)
    has_gold = any(record.get(key) is not None for key in _GOLD_KEYS)
    return Task(
        task_id=number_id if named is None else str(named),
        database=str(next((path for path in paths if path.is_file()), paths[0])),
        question=text_of(record, ["question"], where).strip(),
        gold_sql=golds_of(record, _GOLD_KEYS, where) if has_gold else (),
        evidence=str(record.get("evidence") or "").strip(),
        difficulty=str(record.get("difficulty") or ""),
        source="records",
        database_id=db_id,
        empty_proves_nothing=record.get("empty_proves_nothing") is True,
    )


def _refuse_repeated_ids(tasks: Sequence[Task], path: Path) -> None:
    seen: set[str] = set()
    for task in tasks:
        if task.task_id in seen:
            raise DatasetError(f"{path}: two records have the id {task.task_id!r}")
        seen.add(task.task_id)

"""Reading the official files of a data set: where they lie, what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from text2sql_gym.errors import DatasetError
from text2sql_gym.types import Task

_NAMED = 3  # missing databases named in a message before the rest are counted


def require_dir(data_dir: Path | str | None, dataset: str, how: str) -> Path:
    """Return `data_dir` as an existing folder; `how` says how the data is obtained."""
    if data_dir is None:
        raise DatasetError(f"{dataset}: data_dir is needed, the folder with its files. {how}")
    folder = Path(data_dir).expanduser().resolve()
    if not folder.is_dir():
        raise DatasetError(f"{dataset}: no folder {folder}. {how}")
    return folder


def first_existing(candidates: Sequence[Path], dataset: str, how: str) -> Path:
    """Return the first path that exists; a `DatasetError` names all of them otherwise."""
    for path in candidates:
        if path.exists():
            return path
    expected = " or ".join(str(path) for path in candidates)
    raise DatasetError(f"{dataset}: expected {expected}. {how}")


def read_records(path: Path) -> list[Mapping[str, Any]]:
    """Return the JSON list of objects in `path`; anything else is a `DatasetError`."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read {path}: {error}") from error
    if not isinstance(records, list) or not all(isinstance(row, dict) for row in records):
        raise DatasetError(f"{path}: expected a JSON list of objects")
    return records


def text_of(record: Mapping[str, Any], keys: Sequence[str], where: str) -> str:
    """Return the text under the first of `keys` that is present."""
    for key in keys:
        if isinstance(record.get(key), str):
            return str(record[key])
    found = ", ".join(sorted(record))
    raise DatasetError(f"{where}: expected text under {' or '.join(keys)}; found keys: {found}")


def golds_of(record: Mapping[str, Any], keys: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the accepted queries under the first of `keys`: one text or a list of texts."""
    for key in keys:
        value = record.get(key)
        if isinstance(value, list) and value and all(isinstance(sql, str) for sql in value):
            return tuple(value)
    return (text_of(record, keys, where),)


def with_databases(tasks: Iterable[Task], dataset: str, *, skip_missing: bool) -> tuple[Task, ...]:
    """Return the tasks whose database file exists.

    Missing files raise `DatasetError` naming the first few, unless `skip_missing` is set.
    """
    tasks = tuple(tasks)
    paths = dict.fromkeys(task.database for task in tasks)
    missing = [path for path in paths if not Path(path).is_file()]
    if missing and not skip_missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise DatasetError(
            f"{dataset}: {len(missing)} of {len(paths)} databases are missing: "
            f"{', '.join(missing[:_NAMED])}{more}. Put them there, or pass "
            "skip_missing_databases=True to leave their questions out."
        )
    absent = frozenset(missing)
    return tuple(task for task in tasks if task.database not in absent)

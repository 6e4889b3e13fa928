"""Reading the official files of a data set: where they lie, what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from text2sql_gym.errors import DatasetError
from text2sql_gym.types import Task

_NAMED = 3  # missing databases named in a message before the rest are counted
_MAGIC = b"SQLite format 3\0"
_LFS = b"version https://git-lfs"  # Git's stand-in for a large file that was not fetched


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


def read_records(path: Path, how: str) -> list[Mapping[str, Any]]:
    """Return the JSON list of objects in `path`; anything else is a `DatasetError`."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read {path}: {error}. {how}") from error
    if not isinstance(records, list) or not all(isinstance(row, dict) for row in records):
        raise DatasetError(f"{path}: expected a JSON list of objects. {how}")
    return records


def text_of(record: Mapping[str, Any], keys: Sequence[str], where: str) -> str:
    """Return the text under the first of `keys` that holds one; blank text is a `DatasetError`."""
    for key in keys:
        value = record.get(key)
        if isinstance(value, str):
            if not value.strip():
                raise DatasetError(f"{where}: the text under {key} is blank")
            return value
    found = ", ".join(f"{key} ({type(record[key]).__name__})" for key in sorted(record))
    raise DatasetError(f"{where}: expected text under {' or '.join(keys)}; found keys: {found}")


def golds_of(record: Mapping[str, Any], keys: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the accepted queries under the first of `keys`: one text or a list of texts."""
    for key in keys:
        value = record.get(key)
        if isinstance(value, list) and value:
            return tuple(text_of({key: sql}, [key], where) for sql in value)
    return (text_of(record, keys, where),)


def with_databases(
    tasks: Iterable[Task], dataset: str, how: str, *, skip_missing: bool
) -> tuple[Task, ...]:
    """Return the tasks whose database file exists.

    Missing files raise a `DatasetError` that names the first few, unless `skip_missing` is set. A
    file that is there and is no SQLite database always raises.
    """
    tasks = tuple(tasks)
    paths = dict.fromkeys(task.database for task in tasks)
    missing = [path for path in paths if not Path(path).is_file()]
    if missing and not skip_missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise DatasetError(
            f"{dataset}: {len(missing)} of {len(paths)} databases are missing: "
            f"{', '.join(missing[:_NAMED])}{more}. {how} Databases may come in an archive of "
            "their own: unpack it there, or pass skip_missing_databases=True to leave their "
            "questions out."
        )
    absent = frozenset(missing)
    for path in paths:
        if path not in absent and (fault := _fault(Path(path))):
            raise DatasetError(f"{dataset}: {path} {fault}. {how}")
    return tuple(task for task in tasks if task.database not in absent)


def _fault(path: Path) -> str:
    """Say what is wrong with a database file, as far as its first bytes and its size tell."""
    with path.open("rb") as file:
        head = file.read(100)
    if not head:
        return "is empty"
    if head.startswith(_LFS):
        return "is a pointer of Git LFS, not the file (git lfs pull fetches it)"
    if not head.startswith(_MAGIC):
        return "is no SQLite database"
    size, expected = path.stat().st_size, _declared_size(head)
    return f"is cut off: {size} of {expected} bytes" if size < expected else ""


def _declared_size(head: bytes) -> int:
    """The size in bytes that the header of an SQLite file states, 0 where it is out of date.

    https://www.sqlite.org/fileformat2.html, sections 1.3.2 and 1.3.7: a page size of 1 is 65,536,
    and the number of pages holds when the change counter is the version that it is valid for.
    """
    page = int.from_bytes(head[16:18])
    current = head[24:28] == head[92:96]
    return (65_536 if page == 1 else page) * int.from_bytes(head[28:32]) if current else 0

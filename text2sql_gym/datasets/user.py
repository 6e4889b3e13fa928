"""Tasks given by the user as dicts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from os import PathLike
from pathlib import PurePath
from typing import Any

from text2sql_gym.errors import DatasetError
from text2sql_gym.types import Task

_REQUIRED = ("task_id", "database", "question")
_NO_TEXT = ("gold_sql", "empty_proves_nothing")
_KEYS = tuple(field.name for field in fields(Task))


def as_task(given: Task | Mapping[str, Any]) -> Task:
    """Return `given` as a `Task`; a `Task` is returned as it is.

    A dict has the fields of `Task` as keys. Required are ``task_id``, ``database`` (a path or a
    URL) and ``question``. ``gold_sql`` is one text or a list of accepted texts, absent for a
    question without gold; ``empty_proves_nothing`` is a bool. The database id defaults to the name
    of the database file.

    Raises `DatasetError` naming a missing key, an unknown key with the nearest known one, or a
    value of the wrong type.
    """
    if isinstance(given, Task):
        return given
    if not isinstance(given, Mapping):
        raise DatasetError(f"a task is a Task or a dict, got {type(given).__name__}")
    _check_keys(given)
    texts = {key: _text(key, value) for key, value in given.items() if key not in _NO_TEXT}
    texts.setdefault("database_id", PurePath(texts["database"]).stem)
    flag = given.get("empty_proves_nothing", False)
    if not isinstance(flag, bool):
        raise DatasetError(f"task: empty_proves_nothing must be true or false, got {flag!r}")
    golds = _golds(given.get("gold_sql"))
    return Task(**texts, gold_sql=golds, empty_proves_nothing=flag)


def _check_keys(given: Mapping[str, Any]) -> None:
    unknown = [str(key) for key in given if key not in _KEYS]
    missing = [key for key in _REQUIRED if key not in given]
    problems = [f"unknown key {key!r}{_hint(key)}" for key in unknown]
    problems += [f"missing key {key!r}" for key in missing]
    if problems:
        raise DatasetError(f"task: {'; '.join(problems)}. Keys of a task: {', '.join(_KEYS)}.")


def _hint(key: str) -> str:
    nearest = difflib.get_close_matches(key.lower(), _KEYS, n=1, cutoff=0.3)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""


def _text(key: str, value: object) -> str:
    if key == "database" and isinstance(value, PathLike):
        value = str(value)
    if not isinstance(value, str):
        raise DatasetError(f"task: {key} must be text, got {type(value).__name__}")
    return value


def _golds(value: object) -> tuple[str, ...]:
    """One text, several, or none; a blank query is a mistake, not a question without gold."""
    golds = (value,) if isinstance(value, str) else () if value is None else value
    if not isinstance(golds, list | tuple) or not all(_is_query(sql) for sql in golds):
        raise DatasetError("task: gold_sql must be a query or a list of queries")
    return tuple(golds)


def _is_query(sql: object) -> bool:
    return isinstance(sql, str) and bool(sql.strip())

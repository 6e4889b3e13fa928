"""Further databases on which a matcher looks, open as long as the main one is."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

from text2sql_gym.backends import open_backend
from text2sql_gym.backends.base import Backend
from text2sql_gym.backends.beside import Beside
from text2sql_gym.types import Limits

_AT_MOST = 16  # companions open per main database; a test suite may have a hundred
_open: weakref.WeakKeyDictionary[Backend, OrderedDict[str, Backend]] = weakref.WeakKeyDictionary()


def companion(database: Backend, path: Path, limits: Limits) -> Backend:
    """Return the database in `path`, for use in the same thread as `database`.

    It waits for long statements where `database` does, and not where it does not. It is closed when
    `database` is dropped, or when more than `_AT_MOST` others were used since.
    """
    if isinstance(database, Beside):
        return Beside(companion(database.database, path, limits), database.answers)
    if database not in _open:
        _open[database] = OrderedDict()
        weakref.finalize(database, _close_all, _open[database])
    companions = _open[database]
    key = str(path)
    if key not in companions:
        companions[key] = open_backend(key, limits)
        if len(companions) > _AT_MOST:
            companions.popitem(last=False)[1].close()
    companions.move_to_end(key)
    return companions[key]


def _close_all(companions: OrderedDict[str, Backend]) -> None:
    while companions:
        companions.popitem()[1].close()


@lru_cache(maxsize=1_024)
def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite URL or path; None for another engine or no file."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Path(url)
    return Path(rest.removeprefix("/")) if scheme == "sqlite" else None

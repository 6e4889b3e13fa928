"""Perturbed copies of an SQLite database, made once and kept while a database is open."""

from __future__ import annotations

import atexit
import logging
import os
import random
import shutil
import sqlite3
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

from text2sql_gym.backends.sqlite_shared import at_last_close
from text2sql_gym.matching.perturb import Database, grown, thinned
from text2sql_gym.matching.relations import load, quoted

logger = logging.getLogger(__name__)

_DATABASES = 256  # databases whose copies are kept
_lock = threading.RLock()  # a database may be dropped, and closed, while copies are made
_made: OrderedDict[tuple[str, int, int, int, int, int], tuple[Path, ...]] = OrderedDict()


def variants_of(path: Path, count: int, seed: int) -> tuple[Path, ...]:
    """Return `count` perturbed copies of the database in `path`; the original is only read.

    Copies alternate between a thinned one (about 70 % of the rows) and a grown one (small tables
    filled up to 60 rows). In both, free values move within their column, numbers also a little or
    far out of their range, NULLs spread where there are some, references point at other rows, and
    rows change their order. Kept are declared keys, names that do not repeat, declared and
    evident references, columns that determine each other, and types.

    The same file, count and seed give the same copies. They lie in a temporary folder of this
    process and go with it, or when its last SQLite backend closes; those of the `_DATABASES` most
    recent databases are kept. Empty for a database that cannot be copied this way (virtual tables,
    a broken file): logged, never raised, because the matcher is still right without them, only less
    strict.
    """
    status = path.stat()
    # a forked process must not use copies that its parent may remove
    key = (str(path), status.st_mtime_ns, status.st_size, count, seed, os.getpid())
    with _lock:
        # whoever cleans temporary folders may have been here
        if key not in _made or not all(copy.exists() for copy in _made[key]):
            _made[key] = _make(path, count, seed)
            while len(_made) > _DATABASES:
                _remove(_made.popitem(last=False)[1])
        _made.move_to_end(key)
        return _made[key]


def _make(path: Path, count: int, seed: int) -> tuple[Path, ...]:
    copies: list[Path] = []
    try:
        statements, database = load(path)
        for number in range(count):
            rng = random.Random(f"{seed}/{number}")
            changed = (thinned, grown)[number % 2](database, rng)
            copies.append(_empty_file(f"-{number}-{path.stem}.sqlite"))
            _write(copies[-1], statements, changed)
    except (sqlite3.Error, OverflowError) as error:
        logger.warning("no variants of %s: %s", path.name, error)
        _remove(copies)
        return ()
    return tuple(copies)


def _remove(copies: Sequence[Path]) -> None:
    for copy in copies:
        copy.unlink(missing_ok=True)


def _forget() -> None:
    """Remove every copy this process made, and their folder."""
    process = os.getpid()
    with _lock:
        mine = [key for key in _made if key[-1] == process]
        for key in mine:
            _remove(_made.pop(key))
        if mine:
            shutil.rmtree(_folder(process), ignore_errors=True)


at_last_close(_forget)


def _empty_file(suffix: str) -> Path:
    folder = _folder(os.getpid())
    folder.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(suffix, dir=folder)
    os.close(handle)
    return Path(name)


@cache
def _folder(process: int) -> Path:
    """Make the folder of this process; a forked one makes, and removes, its own."""
    folder = Path(tempfile.mkdtemp(prefix="text2sql-variants-"))

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _write(path: Path, statements: Sequence[str], database: Database) -> None:
    """Fill a new file; rows that break a key or a check are left out."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for statement in statements:
            connection.execute(statement)
        for table in database.values():
            names = ", ".join(map(quoted, table.columns))
            marks = ", ".join("?" * len(table.columns))
            insert = f"INSERT OR IGNORE INTO {quoted(table.name)} ({names}) VALUES ({marks})"
            connection.executemany(insert, table.rows)
        connection.execute("COMMIT")

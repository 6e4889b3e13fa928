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
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

from text2sql_gym.backends.sqlite_shared import at_last_close
from text2sql_gym.matching.perturb import Database, grown, thinned
from text2sql_gym.matching.relations import load
from text2sql_gym.matching.witness import Literals, filled, planted, through_references
from text2sql_gym.sql_text import delimited

Copies = OrderedDict[tuple[object, ...], tuple[Path, ...]]
Make = Callable[[Database], Iterator[Database]]

logger = logging.getLogger(__name__)

_DATABASES = 256  # databases whose copies are kept, and gold queries whose witness is
_lock = threading.RLock()  # a database may be dropped, and closed, while copies are made
_made: Copies = OrderedDict()
_witnesses: Copies = OrderedDict()


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
    return _kept(_made, path, (count, seed), lambda database: _perturbed(database, count, seed))


def witness_of(path: Path, literals: Literals, seed: int) -> tuple[Path, ...]:
    """Return a copy on which a query that compares columns with `literals` may find rows.

    It is grown as those of `variants_of`, empty tables are filled, and more than half of the rows
    of a table hold values that the query looks for. Kept, and empty, as there.
    """

    def made(database: Database) -> Iterator[Database]:
        rng = random.Random(f"{seed}/witness")
        wanted = through_references(database, literals)
        yield grown(filled(database), rng, lambda table: planted(table, wanted, rng))

    return _kept(_witnesses, path, (literals, seed), made)


def _perturbed(database: Database, count: int, seed: int) -> Iterator[Database]:
    for number in range(count):
        yield (thinned, grown)[number % 2](database, random.Random(f"{seed}/{number}"))


def _kept(
    known: Copies, path: Path, what: tuple[object, ...], make: Make
) -> tuple[Path, ...]:
    """Return what is remembered of this state of the file, or make it now."""
    status = path.stat()
    # a forked process must not use copies that its parent may remove
    key = (str(path), status.st_mtime_ns, status.st_size, *what, os.getpid())
    with _lock:
        # whoever cleans temporary folders may have been here
        if key not in known or not all(copy.exists() for copy in known[key]):
            known[key] = _make(path, make)
            while len(known) > _DATABASES:
                _remove(known.popitem(last=False)[1])
        known.move_to_end(key)
        return known[key]


def _make(path: Path, make: Make) -> tuple[Path, ...]:
    copies: list[Path] = []
    try:
        statements, database = load(path)
        for number, changed in enumerate(make(database)):
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
        mine = [(known, key) for known in (_made, _witnesses) for key in known]
        mine = [(known, key) for known, key in mine if key[-1] == process]
        for known, key in mine:
            _remove(known.pop(key))
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
            names = ", ".join(map(delimited, table.columns))
            marks = ", ".join("?" * len(table.columns))
            insert = f"INSERT OR IGNORE INTO {delimited(table.name)} ({names}) VALUES ({marks})"
            connection.executemany(insert, table.rows)
        connection.execute("COMMIT")

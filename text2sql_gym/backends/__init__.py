"""Guarded execution of the policy's SQL, by database engine."""

from __future__ import annotations

from collections.abc import Callable

from text2sql_gym.backends.base import Backend
from text2sql_gym.backends.duckdb import open_duckdb
from text2sql_gym.backends.postgresql import open_postgresql
from text2sql_gym.backends.sqlite import SqliteBackend
from text2sql_gym.registry import lookup
from text2sql_gym.types import Limits


def _open_sqlite(url: str, limits: Limits) -> Backend:
    """Open ``sqlite:///relative/path`` or ``sqlite:////absolute/path``."""
    return SqliteBackend(url.removeprefix("sqlite://").removeprefix("/"), limits)


BACKENDS: dict[str, Callable[[str, Limits], Backend]] = {
    "duckdb": open_duckdb,
    "postgresql": open_postgresql,
    "sqlite": _open_sqlite,
}
"""How to open a database, by the scheme of its URL."""


def open_backend(url: str, limits: Limits = Limits()) -> Backend:
    """Open a database for guarded, read-only execution.

    A text without ``://`` is the path of an SQLite file.

    Raises `EnvironmentFault` when the database cannot be opened, naming what was expected where;
    `UnknownName` for a scheme that is not in `BACKENDS`.
    """
    if "://" not in url:
        url = f"sqlite:///{url}"
    return lookup(BACKENDS, url.split("://", 1)[0], "backend")(url, limits)

"""Real SQLite files, and one call that judges a prediction as an episode would."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from text2sql_gym.backends import open_backend
from text2sql_gym.backends.base import Backend
from text2sql_gym.errors import ToolError
from text2sql_gym.matching import Matcher
from text2sql_gym.types import Limits

PATIENT = Limits(seconds=60.0)  # a busy machine is no reason for another verdict
Open = Callable[..., Backend]
Judge = Callable[[Matcher, str, str, Backend], float]


@pytest.fixture(scope="module")
def open_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Build a database from a script, and open it; closed at the end of the module."""
    opened: list[Backend] = []

    def build(script: str, name: str = "main.sqlite") -> Backend:
        path = tmp_path_factory.mktemp("database") / name
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
        opened.append(open_backend(str(path), PATIENT))
        return opened[-1]

    yield build
    for backend in opened:
        backend.close()


@pytest.fixture(scope="session")
def judge() -> Judge:
    """Score a prediction; one that cannot be executed is never shown to a matcher and earns 0."""

    def score(matcher: Matcher, gold: str, predicted: str, database: Backend) -> float:
        prepared = matcher.prepare(gold, database, PATIENT)
        try:
            table = database.execute(predicted, max_rows=PATIENT.compared_rows)
        except ToolError:
            return 0.0
        return matcher(predicted, table, prepared, database, PATIENT)

    return score

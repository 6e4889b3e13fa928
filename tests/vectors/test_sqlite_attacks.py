"""Every hostile statement ends in time with the right outcome, and changes nothing."""

import hashlib
import resource
import time

import pytest
from attack_cases import build_database, names, statement

from text2sql_gym.backends.sqlite import SqliteBackend
from text2sql_gym.errors import ToolError
from text2sql_gym.types import Limits

LIMITS = Limits(seconds=0.3)
ACCEPTED = {
    "timeout": {"timeout"},
    "sql_error": {"sql_error"},
    "not_allowed": {"not_allowed"},
    "refused": {"sql_error", "not_allowed"},
    "any": {"ok", "sql_error", "timeout"},
}
HONEST = (
    "SELECT name FROM cust WHERE cust_id = 3",
    "SELECT count(*) FROM cust WHERE name LIKE 'NAME 1%'",
    "SELECT title FROM prod LIMIT 3",
    "WITH t AS (SELECT paid, count(*) AS n FROM tx GROUP BY paid) SELECT * FROM t",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked")
    build_database(folder / "shop.sqlite")
    return folder


@pytest.fixture(scope="module")
def honest(folder):
    """Another episode on the same database, answered before and after every attack."""
    backend = SqliteBackend(folder / "shop.sqlite", LIMITS, cached=False)
    yield lambda: [rows_of(backend, sql) for sql in HONEST]
    backend.close()


def rows_of(backend, sql, tries=20):
    """Run an honest statement; on a busy machine the wall clock may stop it more than once."""
    try:
        return backend.execute(sql, max_rows=10).rows
    except ToolError as error:
        if error.outcome != "timeout" or tries == 1:
            raise
    return rows_of(backend, sql, tries - 1)


@pytest.fixture(scope="module")
def before(folder, honest):
    return honest(), digest(folder)


def digest(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).digest() for file in folder.iterdir()}


@pytest.fixture(scope="module", params=[False, True], ids=["default", "isolated"])
def attacked(folder, request):
    backend = SqliteBackend(
        folder / "shop.sqlite", LIMITS, isolated=request.param, cached=False
    )
    yield backend
    backend.close()


@pytest.mark.parametrize(("name", "expected"), names())
def test_an_attack_ends_in_time_and_changes_nothing(
    attacked, honest, before, folder, monkeypatch, name, expected
):
    monkeypatch.chdir(folder)
    sql = statement(name)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome, message = in_time(attacked, sql)
    assert outcome in ACCEPTED[expected], message
    assert str(folder) not in message and "\n" not in message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 150_000
    assert (honest(), digest(folder)) == before


def in_time(backend, sql):
    """Run a statement, once more if it was late: a busy machine delays one run, not two."""
    for _ in range(2):
        started = time.perf_counter()
        answer = attempt(backend, sql)
        if time.perf_counter() - started < LIMITS.seconds + 1:
            return answer
    raise AssertionError("answered more than a second after the limit")


def attempt(backend, sql):
    try:
        backend.execute(sql, max_rows=1_000)
    except ToolError as error:
        return error.outcome, str(error)
    return "ok", ""

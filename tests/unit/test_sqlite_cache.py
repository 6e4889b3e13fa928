"""Results are remembered within bounds, and only if the statement would do the same again."""

import pytest
from sqlite_files import write

from text2sql_gym.backends import sqlite_shared
from text2sql_gym.backends.sqlite import SqliteBackend
from text2sql_gym.backends.sqlite_cache import ResultCache
from text2sql_gym.backends.worker_pool import generation
from text2sql_gym.errors import ToolError
from text2sql_gym.types import Limits, Table

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def table(rows):
    return Table(("a",), tuple((value,) for value in rows))


def key(sql):
    return 0, sql, 10


def test_the_least_recently_used_results_are_forgotten_first():
    cache = ResultCache(3_500)  # an entry counts 1000 bytes, its statement and its rows
    for name in "abc":
        cache.put(key(name), table([1]))
    cache.get(key("a"))
    cache.put(key("d"), table([1]))
    assert [name for name in "abcd" if cache.get(key(name))] == ["a", "c", "d"]


def test_rows_and_statement_weigh_and_an_overweight_result_is_not_kept():
    cache = ResultCache(10_000)
    cache.put(key("small"), table([1]))
    cache.put(key("large"), table(["x" * 9_500]))
    assert (cache.get(key("small")), cache.get(key("large"))) == (table([1]), None)
    cache.put(key("fits"), table(["x" * 8_000]))
    cache.put(key("fits"), table(["x" * 8_500]))
    assert cache.get(key("fits")) == table(["x" * 8_500])
    assert cache.get(key("small")) is None
    cache.put(key("x" * 9_500), table([1]))
    assert len(cache) == 1
    cache.clear()
    assert len(cache) == 0


class Known:
    """A backend whose memory can be looked at."""

    def __init__(self, path, limits, **options):
        self.backend = SqliteBackend(path, limits, **options)
        self.database = sqlite_shared.attach(str(path), limits)

    def after(self, sql, max_rows=5):
        try:
            self.backend.execute(sql, max_rows=max_rows)
        except ToolError as error:
            assert error.outcome == self.outcome(sql, max_rows)
        return self.database.known(sql, max_rows)

    def outcome(self, sql, max_rows):
        known = self.database.known(sql, max_rows)
        return known.outcome if known else "timeout"

    def close(self):
        self.backend.close()
        sqlite_shared.detach(self.database, generation())


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "shop.sqlite")


@pytest.fixture(params=[False, True], ids=["light", "isolated"])
def known(path, request):
    known = Known(path, Limits(vm_steps=100_000), isolated=request.param)
    yield known
    known.close()


def test_results_and_repeatable_errors_are_remembered(known):
    assert known.after("SELECT Name FROM Customer").rows == (("Ada",), ("Ben",), ("Cleo",))
    assert known.after("SELECT nme FROM Customer").message == "no such column: nme"
    assert known.after(ENDLESS).outcome == "timeout"  # by its steps


def test_another_row_limit_is_another_result(known):
    assert known.after("SELECT Name FROM Customer", max_rows=1).rows == (("Ada",),)
    assert known.after("SELECT Name FROM Customer", max_rows=2).rows == (("Ada",), ("Ben",))
    assert known.database.known("SELECT Name FROM Customer", 3) is None


def test_a_large_result_is_not_remembered(known):
    sql = "SELECT a.id FROM sale a, sale b, sale c, sale d, sale e, sale f, sale g"  # 2187 rows
    assert known.after(sql, max_rows=2_001) is None
    assert len(known.after(sql, max_rows=2_000).rows) == 2_000


def test_the_wall_clock_never_decides_what_is_remembered(path):
    known = Known(path, Limits(seconds=0.1, vm_steps=10**12))
    assert known.after(ENDLESS) is None
    known.close()


@pytest.mark.parametrize("isolated", [False, True])
def test_a_replaced_file_is_another_database(path, tmp_path, isolated):
    sql = "SELECT count(*) FROM sale"
    before = SqliteBackend(path, isolated=isolated)
    assert before.execute(sql, max_rows=1).rows == ((3,),)
    write(tmp_path / "new", "CREATE TABLE sale(id); INSERT INTO sale VALUES (1)").replace(path)
    after = SqliteBackend(path, isolated=isolated)
    assert after.execute(sql, max_rows=1).rows == ((1,),)
    assert before.execute(sql, max_rows=1).rows == ((3,),)
    before.close(), after.close()


def test_a_backend_without_memory_remembers_nothing(path):
    known = Known(path, Limits(), cached=False)
    assert known.after("SELECT 1") is None
    known.close()


def test_the_last_backend_takes_the_memory_with_it(path):
    backend = SqliteBackend(path)
    backend.execute("SELECT 1", max_rows=1)
    others = [database for database in sqlite_shared._OPEN.values() if database.path != str(path)]
    assert len(sqlite_shared._CACHE) > 0
    backend.close()
    assert others or len(sqlite_shared._CACHE) == 0

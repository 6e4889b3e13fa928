"""Gold results are computed once and kept, within a budget."""

import pytest
from sqlite_files import write

from text2sql_gym.backends.sqlite import SqliteBackend
from text2sql_gym.errors import EnvironmentFault
from text2sql_gym.golds import GoldCache, gold_results
from text2sql_gym.matching.base import Gold
from text2sql_gym.matching.bird_ex import BirdEx
from text2sql_gym.types import Limits, Table, Task


class Counting:
    """A backend that counts what is asked of it."""

    def __init__(self, backend):
        self.url, self.asked, self._backend = backend.url, [], backend

    def execute(self, sql, *, max_rows):
        self.asked.append(sql)
        return self._backend.execute(sql, max_rows=max_rows)


@pytest.fixture
def database(tmp_path):
    backend = SqliteBackend(write(tmp_path / "shop.sqlite"))
    yield Counting(backend)
    backend.close()


def task(*golds):
    return Task("t", "shop.sqlite", "?", golds)


def gold(rows):
    return Gold("SELECT 1", Table(("a",), ((1,),) * rows))


def test_a_gold_runs_once_however_often_it_is_asked_for(database):
    cache, two = GoldCache(), task("SELECT 1", "SELECT id FROM sale")
    first = gold_results(two, BirdEx(), database, Limits(), cache)
    assert [gold.table.rows for gold in first] == [((1,),), ((1,), (2,), (3,))]
    assert gold_results(two, BirdEx(), database, Limits(), cache) == first
    assert database.asked == ["SELECT 1", "SELECT id FROM sale"]


def test_other_matchers_and_limits_have_golds_of_their_own(database):
    cache, one = GoldCache(), task("SELECT 1")
    for matcher, limits in [(BirdEx(), Limits()), (BirdEx(), Limits(compared_rows=5))]:
        gold_results(one, matcher, database, limits, cache)
    assert len(database.asked) == 2


def test_a_changed_file_is_asked_again(database, tmp_path):
    cache, one = GoldCache(), task("SELECT 1")
    gold_results(one, BirdEx(), database, Limits(), cache)
    with open(tmp_path / "shop.sqlite", "ab") as file:
        file.write(bytes(4096))
    gold_results(one, BirdEx(), database, Limits(), cache)
    assert len(database.asked) == 2


def test_a_file_that_is_gone_is_a_fault(database, tmp_path):
    (tmp_path / "shop.sqlite").unlink()
    with pytest.raises(EnvironmentFault, match="gone"):
        gold_results(task("SELECT 1"), BirdEx(), database, Limits(), GoldCache())


def test_a_task_without_gold_has_no_results(database):
    assert gold_results(task(), BirdEx(), database, Limits()) == ()


def test_those_not_used_for_longest_are_dropped_first():
    cache = GoldCache(capacity=2)
    for name in "ab":
        cache.put(name, gold(1))
    cache.get("a")
    cache.put("c", gold(1))
    assert [cache.get(name) is None for name in "abc"] == [False, True, False]


def test_large_results_leave_early():
    cache = GoldCache(cells=10)
    cache.put("a", gold(6))
    cache.put("a", gold(6))
    cache.put("b", gold(4))
    assert cache.get("a") and cache.get("b")
    cache.put("c", gold(1))
    assert [cache.get(name) is None for name in "abc"] == [True, False, False]
    cache.put("d", gold(11))
    assert [cache.get(name) for name in "abcd"] == [None] * 4
    cache.put("e", gold(10))
    assert cache.get("e")


def test_every_column_of_a_result_counts():
    wide = Gold("SELECT 1, 2, 3", Table(("a", "b", "c"), ((1, 2, 3),) * 2))
    cache = GoldCache(cells=6)
    cache.put("a", wide)
    assert cache.get("a")
    cache.put("b", gold(1))
    assert cache.get("a") is None and cache.get("b")

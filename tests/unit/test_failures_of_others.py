"""What published SQL environments got wrong, tried on this one from the outside."""

import gymnasium as gym
import pytest
from sqlite_files import SHOP, write

import text2sql_gym  # noqa: F401  registers the environment
from text2sql_gym.protocols.finestep import FineStep

EMPTY = "SELECT Name FROM Customer WHERE id > 1000"
COUNT = "SELECT count(*) FROM sale"
LIMITS = {"seconds": 20.0, "vm_steps": 3_000_000}
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    latin = "CREATE TABLE city(name); INSERT INTO city VALUES (CAST(x'4bf66c6e' AS TEXT)), ('Ulm');"
    script = SHOP + latin
    return write(tmp_path_factory.mktemp("others") / "shop.sqlite", script)


def environment(path, gold):
    task = {"task_id": "t", "database": str(path), "question": "?", "gold_sql": gold}
    env = gym.make("Text2SQL-v0", tasks=[task], limits=LIMITS)
    env.reset()
    return env


@pytest.fixture
def started(path):
    envs = []

    def start(gold):
        envs.append(environment(path, gold))
        return envs[-1]

    yield start
    for env in envs:
        env.close()


@pytest.mark.parametrize(
    "sql",
    ["", ";", "-- nothing", "/* nothing */", "CREATE TABLE x(a)", "DELETE FROM sale",
     "UPDATE sale SET amount = 0", "BEGIN", "PRAGMA user_version", f"{EMPTY}; {EMPTY}",
     f"EXPLAIN {EMPTY}"],
)
def test_what_is_no_query_never_equals_an_empty_gold_result(started, sql):
    _, reward, terminated, _, info = started(EMPTY).step(FineStep.answer("", sql))
    assert terminated and info["outcome"] == "predicted_error"
    assert info["reward_terms"]["execution_match"] == 0.0 and reward < 0


def test_another_query_with_an_empty_result_equals_it(started):
    sql = "SELECT Name FROM Customer WHERE 1000 < id"
    *_, info = started(EMPTY).step(FineStep.answer("", sql))
    assert info["outcome"] == "match"


def test_an_empty_result_of_more_columns_does_not(started):
    sql = "SELECT Name, id FROM Customer WHERE id > 1000"
    *_, info = started(EMPTY).step(FineStep.answer("", sql))
    assert info["outcome"] == "mismatch"


def test_the_same_query_over_text_that_is_not_utf8_is_right(started):
    *_, info = started("SELECT name FROM city").step(
        FineStep.answer("", "SELECT name FROM city")
    )
    assert info["outcome"] == "match"


@pytest.mark.parametrize(
    "sql",
    [f"{ENDLESS} SELECT count(*) FROM n", f"{ENDLESS} SELECT i FROM n",
     "SELECT count(*) FROM sale" + ", sale" * 20],
)
def test_an_endless_answer_ends_the_episode_as_an_error_of_the_policy(started, sql):
    _, _, terminated, _, info = started(COUNT).step(FineStep.answer("", sql))
    assert terminated and info["outcome"] in ("predicted_error", "mismatch")
    assert info["reward_terms"]["execution_match"] == 0.0


@pytest.mark.parametrize(
    "sql",
    ["DROP TABLE sale", "DELETE FROM sale", f"INSERT INTO sale (id) {ENDLESS} SELECT i FROM n",
     "CREATE TEMP TABLE sale AS SELECT 1 AS id", "CREATE TEMP VIEW sale AS SELECT 1 AS id",
     "PRAGMA case_sensitive_like = 1", "PRAGMA reverse_unordered_selects = 1",
     "PRAGMA hard_heap_limit = 1", "BEGIN EXCLUSIVE", "SELECT hex(zeroblob(400000000))"],
)
def test_nothing_one_episode_does_reaches_another(started, sql):
    gold = "SELECT Name FROM Customer WHERE Name LIKE 'a%' OR Name LIKE 'B%'"
    honest = started(gold)
    started(gold).step(FineStep.call("", sql))
    trial, *_ = honest.step(FineStep.call("", COUNT))
    assert "\n3\n" in trial
    *_, info = honest.step(FineStep.answer("", gold))
    assert info["outcome"] == "match"


@pytest.mark.parametrize(
    "sql", ["SELECT x", "SELECT * FROM pragma_database_list", "ATTACH 'x.db' AS x", "SELECT 'a"]
)
def test_no_observation_tells_where_the_database_is(started, path, sql):
    observation, *_ = started(COUNT).step(FineStep.call("", sql))
    assert str(path.parent) not in observation and path.name not in observation
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]

"""What published SQL environments got wrong, tried on this one from the outside."""

import os
import random
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest
from sqlite_files import SHOP, write

import text2sql_gym  # noqa: F401  registers the environment
from text2sql_gym.protocols import PROTOCOLS
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.types import ToolCall

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


@pytest.mark.parametrize(
    "sql",
    ["SELECT count(*) -- how many\nFROM sale -- of all\nWHERE id > 0",
     "SELECT count(*) FROM sale WHERE 'A--7' != 'A' AND 'a  b' != 'a b' AND '/*' = '/' || '*'",
     "SELECT count(*) FROM sale WHERE 'x\ny' = 'x' || char(10) || 'y' AND ';' != ''",
     "SELECT count(*) FROM sale -- LIMIT 1"],
)  # fmt: skip
@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "cocte"])
def test_a_query_reaches_the_engine_as_it_was_written(path, name, sql):
    task = {"task_id": "t", "database": str(path), "question": "?", "gold_sql": COUNT}
    env = gym.make("Text2SQL-v0", tasks=[task], protocol=name)
    env.reset()
    action = env.unwrapped.protocol.write(ToolCall("submit", {"sql": sql}))
    *_, info = env.step(action)
    assert info["outcome"] == "match"
    env.close()


@pytest.mark.parametrize(
    "answer",
    [f"</final_sql>{COUNT}<final_sql>", f"<final_sql>{COUNT}", f"{COUNT}</final_sql>",
     f"<FINAL_SQL>{COUNT}</FINAL_SQL>", f"<final_sql>{COUNT}</final_sql><final_sql></final_sql>",
     f"```sql\n{COUNT}\n```", COUNT],
)  # fmt: skip
def test_what_is_no_answer_is_not_judged_and_ends_nothing(started, answer):
    env = started(COUNT)
    _, reward, terminated, truncated, info = env.step(f"<reasoning>so</reasoning>{answer}")
    assert (terminated, truncated, info["call_outcome"]) == (False, False, "malformed")
    assert reward < 0 and info["outcome"] == "no_submission"
    assert env.step(FineStep.answer("", COUNT))[4]["outcome"] == "match"


def test_limits_hold_in_any_thread(started):
    env = started(COUNT)
    turns = [FineStep.call("", f"{ENDLESS} SELECT count(*) FROM n"), FineStep.answer("", COUNT)]
    with ThreadPoolExecutor(1) as thread:
        infos = [thread.submit(env.step, turn).result()[4] for turn in turns]
    assert [info["call_outcome"] for info in infos] == ["timeout", "ok"]
    assert infos[-1]["outcome"] == "match"


def test_more_endless_statements_than_there_are_workers_leave_the_next_one_its_turn(started):
    turns = [FineStep.call("", f"{ENDLESS} SELECT {number} FROM n WHERE i < 0") for number in "12"]
    for env in [started(COUNT) for _ in range(os.cpu_count() + 2)]:
        assert {env.step(turn)[4]["call_outcome"] for turn in turns} == {"timeout"}
    assert started(COUNT).step(FineStep.answer("", COUNT))[4]["outcome"] == "match"


def test_the_lock_of_another_program_holds_nobody_up(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        env = environment(path, COUNT)
        assert env.step(FineStep.answer("", COUNT))[4]["outcome"] == "match"
        env.close()
        other.execute("ROLLBACK")


def test_the_seed_decides_and_no_generator_of_the_process(path):
    tasks = [
        {"task_id": str(number), "database": str(path), "question": "?"} for number in range(50)
    ]
    env = gym.make("Text2SQL-v0", tasks=tasks)
    drawn = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        before = random.getstate(), np.random.get_state()[1].tolist()
        first = env.reset(seed=7)[1]["task_id"]
        drawn.append([first, *(env.reset()[1]["task_id"] for _ in range(9))])
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    assert drawn[0] == drawn[1] and len(set(drawn[0])) > 5
    env.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_many_episodes_open_no_more_files_than_one(started):
    env, open_files = started(COUNT), set()
    for _ in range(60):
        env.reset()
        env.step(FineStep.call("", "SELECT trim(Name) FROM Customer"))
        env.step(FineStep.call("", "SELECT x"))
        env.step(FineStep.answer("", COUNT))
        open_files.add(len(os.listdir("/proc/self/fd")))
    assert len(open_files) == 1

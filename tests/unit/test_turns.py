"""Turns of several environments under way at once, finished, dropped and told apart."""

import sqlite3
from contextlib import closing

import gymnasium as gym
import pytest

from text2sql_gym.backends import open_backend
from text2sql_gym.backends.beside import Answers, Beside, plain
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.turns import Answer, Turns
from text2sql_gym.types import Limits

LIMITS = {"vm_steps": 1_000_000, "memory_mb": 268, "seconds": 60.0}
LIGHT = FineStep.call("", "SELECT city FROM sale")
HEAVY = FineStep.call("", "SELECT trim(city) FROM sale")  # for a worker


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    path = tmp_path_factory.mktemp("turns") / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, city TEXT)")
        connection.executemany("INSERT INTO sale (city) VALUES (?)", [("Oslo",), ("Rome",)])
        connection.commit()
    with closing(open_backend(str(path), Limits(**LIMITS))):  # keeps the worker processes
        yield str(path)


@pytest.fixture
def envs(shop):
    task = {"task_id": "t", "database": shop, "question": "?"}
    made = [Text2SQLEnv(tasks=[task], limits=LIMITS) for _ in range(4)]
    for env in made:
        env.reset()
    yield made
    for env in made:
        env.close()


def test_all_turns_are_finished_by_their_index(envs):
    turns = Turns()
    assert turns.finish() == {}
    for index, action in ((2, HEAVY), (0, LIGHT), (3, "hello"), (1, HEAVY)):
        turns.step(index, envs[index], action)
    assert turns.indices == [0, 1, 2, 3]
    answers = turns.finish()
    assert sorted(answers) == [0, 1, 2, 3] and turns.indices == []
    assert all(answers[index].env_id == index for index in answers)
    assert answers[1].observation == answers[2].observation != answers[3].observation
    assert [answers[index].info["turn"] for index in range(4)] == [1, 1, 1, 1]


def test_a_fault_is_raised_when_all_turns_are_over(envs):
    def broken():
        raise OSError("gone")

    turns = Turns()
    turns.begin(0, envs[0], broken)
    turns.step(1, envs[1], HEAVY)
    with pytest.raises(OSError, match="gone") as caught:
        turns.finish()
    assert caught.value.__notes__ == ["in environment 0 of the vector"]
    assert turns.indices == [] and len(envs[1].messages) == 4


def test_what_was_taken_and_put_back_comes_first(envs):
    turns = Turns()
    for index in (0, 1):
        turns.step(index, envs[index], LIGHT)
    (first,) = [over for over in turns.take(wait=True) if over[0] == 0] or [None]
    turns.step(2, envs[2], LIGHT)
    turns.put_back([first])
    assert turns.indices == [0, 2]
    assert [index for index, _ in turns.take(wait=False)] == [0, 2]
    assert turns.take(wait=True) == []


def test_dropped_turns_are_forgotten_and_change_nothing(envs):
    turns = Turns()
    turns.step(0, envs[0], HEAVY.replace("trim", "rtrim"))
    turns.step(1, envs[1], LIGHT)
    turns.drop()
    assert turns.indices == [] and turns.take(wait=True) == [] and turns.finish() == {}
    assert len(envs[0].messages) == 2, "it had not ended"
    turns.step(0, envs[0], LIGHT)
    assert turns.finish()[0].info["turn"] == 1


def test_a_closed_vector_has_no_turn_under_way(shop):
    task = {"task_id": "t", "database": shop, "question": "?"}
    vector = gym.make_vec("Text2SQL-v0", 2, tasks=[task], limits=LIMITS).unwrapped
    vector.reset()
    vector.submit(0, LIGHT)
    vector.submit(1, HEAVY.replace("trim", "ltrim"))
    vector.close()
    assert vector.pending == [] and vector.collect() == []


def test_some_are_begun_only_if_all_of_them_can_be(shop):
    task = {"task_id": "t", "database": shop, "question": "?"}
    vector = gym.make_vec("Text2SQL-v0", 2, tasks=[task], limits=LIMITS).unwrapped
    vector.reset()
    vector.step_some({1: FineStep.answer("", "SELECT 1")})
    with pytest.raises(gym.error.ResetNeeded, match=r"\[1\]"):
        vector.step_some({0: LIGHT, 1: LIGHT})
    with pytest.raises(gym.error.ResetNeeded, match=r"\[1\]"):
        vector.submit(1, LIGHT)
    assert vector.pending == [] and len(vector.envs[0].messages) == 2
    vector.close()


@pytest.mark.parametrize("options", [None, {"task_id": "3"}])
def test_a_seed_decides_later_draws_with_options_beside_it_too(shop, options):
    tasks = [{"task_id": str(n), "database": shop, "question": "?"} for n in range(30)]
    vector = gym.make_vec("Text2SQL-v0", 2, tasks=tasks, limits=LIMITS).unwrapped
    single = Text2SQLEnv(tasks=tasks, limits=LIMITS)
    vector.submit_reset(1, seed=5, options=options)
    (answer,) = vector.collect()
    expected = [single.reset(seed=5, options=options)[1]["task_id"]]
    drawn = [answer.info["task_id"]]
    for _ in range(6):
        vector.submit_reset(1)
        (answer,) = vector.collect()
        drawn.append(answer.info["task_id"])
        expected.append(single.reset()[1]["task_id"])
    assert drawn == expected and len(set(drawn)) > 3
    vector.close()
    single.close()


def test_an_answer_says_whether_its_episode_is_over():
    for terminated, truncated in ((False, False), (True, False), (False, True)):
        answer = Answer(0, "", 0.0, terminated, truncated, {})
        assert answer.ended == (terminated or truncated)


def test_a_database_beside_others_can_be_had_plain_and_submits_as_it_does(shop):
    with closing(open_backend(shop, Limits(**LIMITS))) as database:
        beside = Beside(database, Answers(Limits(**LIMITS)))
        assert plain(beside) is database and plain(database) is database
        assert beside.url == database.url and beside.schema() == database.schema()
        for max_rows in (1, 2):
            table = beside.submit("SELECT city FROM sale", max_rows=max_rows).result()
            assert len(table.rows) == max_rows
        beside.close()
        assert database.execute("SELECT 1", max_rows=1).rows == ((1,),)

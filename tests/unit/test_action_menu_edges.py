"""`ActionMenu` where tasks, results and callers are not as usual."""

import sqlite3
from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest
from menu_shop import actions_of, look_at, shop_menu, shop_tasks

from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.types import Task
from text2sql_gym.wrappers import ActionMenu
from text2sql_gym.wrappers.action_menu import _read
from text2sql_gym.wrappers.menu import FEATURES, Feature, Kind, Sizes


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return shop_tasks(tmp_path_factory.mktemp("menu"))


@pytest.fixture
def env(tasks):
    with shop_menu(tasks) as made:
        yield made


def begin(env, name):
    env.reset(options={"task_id": name})


def after(env, action):
    return env.step(action)[0].reshape(-1, FEATURES)


def test_sizes_are_given_in_one_way(tasks):
    given = Text2SQLEnv(tasks=tasks)
    with pytest.raises(ValueError, match="got both: .*candidates=3.* and {'looks': 2}"):
        ActionMenu(given, Sizes(candidates=3), looks=2)
    assert ActionMenu(given, Sizes(looks=2)).sizes == ActionMenu(given, looks=2).sizes


def test_there_is_no_menu_before_the_first_reset(env):
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        env.menu
    assert not env.action_masks().any()


def test_an_observation_is_a_number_from_0_to_1_for_every_feature_of_every_action(env):
    space, actions = env.observation_space, env.action_space.n
    assert (space.low == 0).all() and (space.high == 1).all() and space.dtype == np.float32
    assert space.shape == (actions * FEATURES,) and actions == len(env.kinds) == 18
    observation, _ = env.reset(seed=0)
    assert observation.dtype == np.float32 and space.contains(observation)


def test_a_text_that_no_column_is_compared_with_makes_no_menu_and_is_never_drawn(tasks):
    odd = [
        Task(f"odd{n}", tasks[0].database, "What?", (f"SELECT name, 'x{n}' FROM shop",))
        for n in range(9)
    ]
    with shop_menu([*odd, tasks[0]]) as env:
        assert env.task_ids == (tasks[0].task_id,)
        assert {env.reset(seed=seed)[1]["task_id"] for seed in range(9)} == {tasks[0].task_id}


def test_a_peek_says_nothing_of_itself(env):
    begin(env, "looked_up")
    for peek in actions_of(env, Kind.PEEK):
        features = after(env, peek)
        assert features[peek, Feature.TAKEN] == 1
        assert not features[peek, [Feature.SEEN, Feature.ABSENT]].any()


def test_an_answer_is_no_trial(env):
    begin(env, "looked_up")
    features = after(env, env.menu.right_action)
    assert not features[:, [Feature.RAN, Feature.EMPTY]].any()
    assert features[env.menu.right_action, Feature.TAKEN] == 1


def test_a_cut_look_that_shows_no_candidate_proves_nothing(tmp_path):
    path = tmp_path / "towns.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE shop (name TEXT, town TEXT)")
        rows = [(f"shop {n}", f"Vienna-{n}") for n in range(100, 160)]
        connection.executemany("INSERT INTO shop VALUES (?, ?)", rows)
        connection.commit()
    gold = "SELECT name FROM shop WHERE town = 'Vienna-159'"
    task = Task("cut", str(path), "Show the name of the shop in Vienna.", (gold,))
    with ActionMenu(Text2SQLEnv(tasks=[task], limits={"shown_rows": 1})) as env:
        begin(env, "cut")
        look = look_at(env, "town")
        features = after(env, look)
        shown = env.base.last_turn.result.table.rows[0][0]
        assert shown not in {candidate.lookup.value for candidate in env.menu.candidates}
        assert not features[:, [Feature.SEEN, Feature.ABSENT]].any()


@pytest.mark.parametrize(
    ("inner", "columns", "rows", "whole"),
    [
        ("a | b\n1 | 2\n(1 row)", ["a", "b"], [["1", "2"]], True),
        ("a\n(0 rows)", ["a"], [], True),
        ("a\n1\n(1 rows shown of 2)", ["a"], [["1"]], False),
        ("a\n1\n(1 rows shown of more than 1000)", ["a"], [["1"]], False),
        ("a\n1 | 2\n3\n(2 rows)", ["a"], [["3"]], False),
        ("a\n1\n(1 row)\nOne turn is left: give the final SQL.", ["a"], [["1"]], True),
        ("shop (id, name)", [], [], False),
        ("(3 rows)", [], [], False),
        ("", [], [], False),
    ],
)
def test_a_table_is_read_back_and_nothing_else_is_one(inner, columns, rows, whole):
    shown = _read(f"<result>\n{inner}\n</result>")
    assert (shown.columns, shown.rows, shown.whole) == (columns, rows, whole)

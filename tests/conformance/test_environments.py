"""Laws of the environment under every protocol, reward scheme and matcher."""

import json
import pickle
import random
import sqlite3
import warnings
from contextlib import closing

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

from text2sql_gym.backends import open_backend
from text2sql_gym.matching import MATCHERS
from text2sql_gym.protocols import PROTOCOLS
from text2sql_gym.rewards import SCHEMES
from text2sql_gym.types import Limits, ToolCall
from text2sql_gym.vector import Text2SQLVectorEnv

COUNT = "SELECT count(*) FROM Customer"
NAMES = "WITH named AS (SELECT trim(Name) AS n FROM Customer) SELECT n FROM named"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
LIMITS = {"vm_steps": 300_000, "memory_mb": 263, "seconds": 60.0}
ARGUMENTS = {
    "list_tables": [{}],
    "describe_table": [{"table": "customer"}, {"table": "nothing"}],
    "sample_rows": [{"table": "Customer"}],
    "search_values": [{"table": "Customer", "column": "Name", "text": "a"}],
    "propose_schema": [{"schema": "Customer(Name)"}, {"schema": "Nothing(Name)"}],
}
"""what a tool is called with; all others are called with statements"""
STATEMENTS = [{"sql": sql} for sql in (COUNT, NAMES, ENDLESS, "SELECT nme FROM Customer", "DROP x")]
TIMED = {"r_ves"}
"""matchers whose verdict depends on the clock"""
FRAMES = [
    *({"protocol": name} for name in PROTOCOLS),
    *({"rewards": name} for name in SCHEMES),
    *({"matcher": name} for name in MATCHERS if name not in TIMED),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    path = tmp_path_factory.mktemp("environments") / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE Customer (Id INTEGER PRIMARY KEY, Name TEXT)")
        names = [("Ada",), ("Bob",), ("Bob",), (None,)]
        connection.executemany("INSERT INTO Customer (Name) VALUES (?)", names)
        connection.commit()
    with closing(open_backend(str(path), Limits(**LIMITS))):  # keeps the worker processes
        yield str(path)


@pytest.fixture(params=FRAMES, ids=lambda frame: "-".join(*frame.items()))
def arguments(request, shop):
    tasks = [
        {"task_id": "count", "database": shop, "question": "How many?", "gold_sql": COUNT},
        {"task_id": "names", "database": shop, "question": "Who?", "gold_sql": NAMES},
        {"task_id": "free", "database": shop, "question": "What now?", "evidence": "None."},
    ]
    return {"tasks": tasks, "limits": LIMITS, "render_mode": "ansi", **request.param}


@pytest.fixture
def make(arguments):
    made = []

    def make():
        made.append(gym.make("Text2SQL-v0", **arguments).unwrapped)
        return made[-1]

    yield make
    for env in made:
        env.close()


def script(env, length, seed=0):
    """Turns of every kind that the protocol can write, and some that it cannot read."""
    calls = [
        ToolCall(tool, given)
        for tool in env.protocol.tools
        for given in ARGUMENTS.get(tool, STATEMENTS)
    ]
    turns = [env.protocol.write(call, "So be it.") for call in calls]
    endings = [turns.pop(i) for i in range(len(calls) - 1, -1, -1) if "submit" in calls[i].tool]
    rng = random.Random(seed)
    drawn = rng.choices([*turns, "hello", "", "<result>\n7\n</result>"], k=length)
    return [rng.choice(endings) if rng.random() < 0.15 else turn for turn in drawn]


def play(env, actions):
    """Take the turns, with a reset after every end; return all that came back."""
    seen = []
    for action in actions:
        seen.append(env.step(action))
        if seen[-1][2] or seen[-1][3]:
            seen.append(env.reset())
    return seen


def infos_of(seen):
    return [came[-1] for came in seen]


def test_the_checker_has_nothing_to_warn_of(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make())


def test_two_environments_step_alike_for_fifty_steps(make):
    env, other = make(), make()
    actions = script(env, 50)
    assert env.reset(seed=1) == other.reset(seed=1)
    assert play(env, actions) == play(other, actions)
    assert env.render() == other.render() != ""


def test_a_live_copy_goes_on_alike(make):
    env = make()
    actions = script(env, 20)
    env.reset(seed=2)
    play(env, actions[:10])
    copy = pickle.loads(pickle.dumps(env))
    assert play(copy, actions[10:]) == play(env, actions[10:])
    copy.close()


def test_every_info_has_the_same_keys_and_types_and_tells_neither_gold_nor_path(make, shop):
    env = make()
    _, first = env.reset(seed=3, options={"task_id": "names"})
    assert NAMES not in json.dumps(first) and shop not in json.dumps(first)
    for info in infos_of(play(env, script(env, 40))):
        assert {key: type(value) for key, value in info.items()} == {
            key: type(value) for key, value in first.items()
        }
        assert set(map(type, info["reward_terms"].values())) == {float}
        assert list(info["reward_terms"]) == list(first["reward_terms"])
        assert shop not in json.dumps(info)


def test_every_state_comes_back_as_it_was(make):
    env, other = make(), make()
    actions = script(env, 25, seed=4)
    env.reset(seed=4)
    for action in actions:
        observation, _, terminated, truncated, info = env.step(action)
        assert other.reset(options={"state": info["state"]}) == (observation, info)
        assert other.messages == env.messages and other.ended == (terminated or truncated)
        if other.ended:
            env.reset()
        else:
            assert other.step(actions[0]) == env.step(actions[0])
            if env.ended:
                env.reset()


def test_a_vector_gives_what_single_environments_give(make, arguments):
    singles = [make() for _ in range(3)]
    envs = Text2SQLVectorEnv(3, **arguments)
    scripts = [script(env, 12, seed) for seed, env in enumerate(singles)]
    first = envs.reset_some({i: {} for i in range(3)}, {i: 5 + i for i in range(3)})
    for i, env in enumerate(singles):
        assert (first[i].observation, first[i].info) == env.reset(seed=5 + i)
    for turn in range(12):
        running = [i for i in range(3) if singles[i].running]
        answers = envs.step_some({i: scripts[i][turn] for i in running})
        for i in running:
            assert tuple(answers[i][1:]) == singles[i].step(scripts[i][turn])
    envs.close()

"""The state of an episode as text: an environment can be put back into any state exactly."""

import functools
import json
import pickle
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from text2sql_gym import Text2SQLEnv
from text2sql_gym.errors import StateError
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.rewards import RewardScheme
from text2sql_gym.state import fingerprint
from text2sql_gym.tools import TOOLS
from text2sql_gym.types import Limits

COUNT = "SELECT count(*) FROM sale"
CITIES = "SELECT city, count(*) FROM sale GROUP BY city"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
ACTIONS = [
    FineStep.call("look", "SELECT * FROM sale"),
    FineStep.call("look\nagain", "select *  from SALE"),
    FineStep.call("", CITIES),
    FineStep.call("", "SELECT nme FROM sale"),
    FineStep.call("", "DELETE FROM sale"),
    FineStep.call("", ENDLESS),
    "hello\n\ud800 </result>",
    '["Text2SQL-v0 state 1"]\n',
    "",
    FineStep.answer("sure", COUNT),
    FineStep.answer("", CITIES),
    FineStep.answer("", "SELECT nme FROM sale"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write(tmp_path_factory.mktemp("state") / "shop.sqlite")


def write(path, cities=("Oslo", "Rome", "Rome")):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE IF EXISTS sale")
        connection.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, city TEXT)")
        connection.executemany("INSERT INTO sale (city) VALUES (?)", [(city,) for city in cities])
        connection.commit()
    return path


def tasks_over(path):
    return [
        {"task_id": "count", "database": str(path), "question": "How many?", "gold_sql": COUNT},
        {"task_id": "free", "database": str(path), "question": "What now?", "evidence": "None."},
    ]


@pytest.fixture
def make(shop):
    made = []

    def make(**options):
        given = {"tasks": tasks_over(shop), "max_turns": 5, "limits": {"vm_steps": 300_000}}
        made.append(Text2SQLEnv(**{**given, "render_mode": "ansi", **options}))
        return made[-1]

    yield make
    for env in made:
        env.close()


def start(env, task_id="count"):
    return env.reset(options={"task_id": task_id})


def restore(env, state):
    return env.reset(options={"state": state})


def play(env, actions):
    """Take the actions up to the end of the episode; return all that came back."""
    seen = []
    for action in actions:
        seen.append(env.step(action))
        if seen[-1][2] or seen[-1][3]:
            break
    return seen


class TestRestoring:
    @settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
    @given(
        task_id=st.sampled_from(["count", "free"]),
        actions=st.lists(st.sampled_from(ACTIONS) | st.text(max_size=20), max_size=6),
        before=st.lists(st.sampled_from(ACTIONS), max_size=3),
    )
    def test_every_state_comes_back_as_it_was_and_goes_on_as_it_went(
        self, make, task_id, actions, before
    ):
        env, other = make(), make()
        observation, info = start(env, task_id)
        reached, shown = [(observation, info)], [env.render()]
        seen = []
        for action in actions:
            seen += play(env, [action])
            reached.append((seen[-1][0], seen[-1][4]))
            shown.append(env.render())
            if seen[-1][2] or seen[-1][3]:
                break
        start(other, "free")
        play(other, before)
        for turn, (observation, info) in enumerate(reached):
            assert restore(other, info["state"]) == (observation, info)
            assert other.render() == shown[turn]
            assert play(other, actions[turn : len(seen)]) == seen[turn:]
            assert other.messages == env.messages
            assert other.task == env.task
        env.close()
        other.close()

    @pytest.mark.parametrize("last", [ACTIONS[9], ACTIONS[0]])
    def test_an_ended_episode_comes_back_ended(self, make, last):
        env = make(max_turns=1)
        start(env)
        observation, _, _, _, info = env.step(last)
        other = make(max_turns=1)
        assert restore(other, info["state"]) == (observation, info)
        with pytest.raises(gym.error.ResetNeeded):
            other.step(ACTIONS[0])

    def test_attempts_branch_from_one_state(self, make):
        env = make()
        start(env)
        _, _, _, _, info = env.step(ACTIONS[2])
        right = play(env, [ACTIONS[9]])
        for _ in range(2):
            restore(env, info["state"])
            assert play(env, [ACTIONS[10]])[-1][4]["outcome"] == "mismatch"
            restore(env, info["state"])
            assert play(env, [ACTIONS[9]]) == right

    def test_a_turn_that_failed_is_not_run_again(self, make, monkeypatch):
        env = make(limits={"seconds": 0.05, "vm_steps": 10**12})
        start(env)
        ran = []

        @functools.wraps(TOOLS["execute_sql"])
        def watched(backend, arguments, limits, tool=TOOLS["execute_sql"]):
            ran.append(arguments["sql"])
            return tool(backend, arguments, limits)

        monkeypatch.setitem(TOOLS, "execute_sql", watched)
        for action in (ACTIONS[5], ACTIONS[3], ACTIONS[2]):
            observation, _, _, _, info = env.step(action)
        ran.clear()
        assert restore(env, info["state"]) == (observation, info)
        assert ran == [CITIES]
        assert "timeout" in info["state"]

    def test_the_draws_of_later_resets_are_left_alone(self, make):
        env, other = make(), make()
        _, info = start(env)
        for one in (env, other):
            one.reset(seed=3)
        restore(env, info["state"])
        draws = [[one.reset()[1]["task_id"] for _ in range(12)] for one in (env, other)]
        assert draws[0] == draws[1] and len(set(draws[0])) == 2

    def test_a_seed_beside_a_state_counts_for_later_resets(self, make):
        env, other = make(), make()
        _, info = start(env)
        env.reset(seed=4, options={"state": info["state"]})
        other.reset(seed=4, options={"task_id": "count"})
        assert [env.reset() for _ in range(5)] == [other.reset() for _ in range(5)]

    def test_it_works_after_pickle_and_json_and_through_wrappers(self, make, shop):
        env = make()
        start(env)
        observation, _, _, _, info = env.step(ACTIONS[6])
        state = json.loads(json.dumps(info["state"]))
        copy = pickle.loads(pickle.dumps(env))
        assert restore(copy, state) == (observation, info)
        copy.close()
        limits = {"vm_steps": 300_000}
        made = gym.make("Text2SQL-v0", tasks=tasks_over(shop), max_turns=5, limits=limits)
        assert restore(made, state) == (observation, info)
        made.close()

    def test_a_database_that_moved_is_the_same_database(self, make, tmp_path):
        env = make()
        start(env)
        observation, _, _, _, info = env.step(ACTIONS[2])
        moved = make(tasks=tasks_over(write(tmp_path / "shop.sqlite")))
        assert restore(moved, info["state"]) == (observation, info)

    def test_it_names_neither_a_path_nor_the_gold(self, make, shop):
        env = make()
        _, info = start(env)
        assert str(shop.parent) not in info["state"] and COUNT not in info["state"]

    def test_it_is_as_long_as_the_actions_and_no_longer(self, make):
        env = make(max_turns=40)
        _, info = start(env)
        lengths = [len(info["state"])]
        lengths += [len(env.step(ACTIONS[0])[4]["state"]) for _ in range(30)]
        grown = {after - before for before, after in zip(lengths, lengths[1:], strict=False)}
        assert lengths[0] < 500 and grown == {len(json.dumps([ACTIONS[0]])) + 1}


class TestWhatDoesNotFit:
    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"protocol_options": {"style": "compact"}}, "another protocol "),
            ({"matcher": "bird_ex"}, "another matcher "),
            ({"rewards": "outcome"}, "another reward scheme "),
            ({"max_turns": 6}, "another max_turns "),
            ({"limits": {"vm_steps": 300_001}}, "another limits "),
            ({"limits": {"vm_steps": 1}, "max_turns": 6}, "another max_turns and another limits "),
        ],
    )
    def test_a_state_of_other_settings_is_refused_by_their_name(self, make, options, told):
        _, info = start(make())
        with pytest.raises(StateError, match=told):
            restore(make(**options), info["state"])

    def test_a_state_of_another_task_set_is_refused(self, make, shop):
        _, info = start(make())
        other = [{**tasks_over(shop)[1], "task_id": "counts"}]
        with pytest.raises(StateError, match="another task set.*Did you mean 'counts'"):
            restore(make(tasks=other), info["state"])

    @pytest.mark.parametrize("changed", ["question", "evidence", "gold_sql"])
    def test_a_state_of_a_task_that_was_changed_is_refused(self, make, shop, changed):
        _, info = start(make())
        other = [{**tasks_over(shop)[0], changed: "SELECT 1"}]
        with pytest.raises(StateError, match="another task "):
            restore(make(tasks=other), info["state"])

    @pytest.mark.parametrize("task_id", ["count", "free"])
    def test_a_changed_database_is_found_out(self, make, tmp_path, task_id):
        path = write(tmp_path / "shop.sqlite")
        env = make(tasks=tasks_over(path))
        start(env, task_id)
        _, _, _, _, info = env.step(ACTIONS[2])
        env.close()
        write(path, ["Oslo"])
        with pytest.raises(StateError, match=f"'{task_id}'.*the database has changed"):
            restore(make(tasks=tasks_over(path)), info["state"])

    @pytest.mark.parametrize("state", ["", "hello", None, 7, {"task_id": "count"}, "[]\nx"])
    def test_what_is_no_state_is_told_what_one_is(self, make, state):
        with pytest.raises(StateError, match=r"expected a state as in info\['state'\]"):
            restore(make(), state)

    def test_a_state_of_another_version_is_told_so(self, make):
        _, info = start(make())
        with pytest.raises(StateError, match="expected .*state 1"):
            restore(make(), info["state"].replace("state 1", "state 0"))

    @settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
    @given(where=st.integers(0, 10**6), what=st.sampled_from(["", "x", "7", '"', "\n", "[]"]))
    def test_a_damaged_state_never_passes(self, make, where, what):
        env = make()
        start(env)
        play(env, [ACTIONS[0], ACTIONS[3]])
        observation, _, _, _, info = env.step(ACTIONS[9])
        state, place = info["state"], where % len(info["state"])
        damaged = state[:place] + what + state[place + 1 :]
        try:  # it may differ by a space between two values
            assert restore(env, damaged) == (observation, info)
        except StateError:
            pass

    def test_turns_after_the_end_are_damage(self, make):
        env = make()
        start(env)
        *lines, digest = env.step(ACTIONS[9])[4]["state"].split("\n")
        with pytest.raises(StateError, match="after its end"):
            restore(env, "\n".join([*lines, lines[-1], digest]))

    def test_the_episode_under_way_goes_on_after_a_state_was_refused(self, make):
        env, other = make(), make()
        for one in (env, other):
            start(one)
            one.step(ACTIONS[0])
        for bad in ("hello", start(make(), "free")[1]["state"][:-1]):
            with pytest.raises(StateError):
                restore(env, bad)
        assert env.step(ACTIONS[1]) == other.step(ACTIONS[1])

    def test_a_task_and_a_state_at_once_are_refused(self, make):
        env = make()
        _, info = start(env)
        with pytest.raises(ValueError, match="expected only 'task_id' or 'state', got"):
            env.reset(options={"task_id": "count", "state": info["state"]})


class TestFingerprints:
    def test_records_differ_by_their_fields(self):
        assert fingerprint(Limits()) == fingerprint(Limits())
        assert fingerprint(Limits()) != fingerprint(Limits(seconds=6.0))
        assert fingerprint(FineStep()) != fingerprint(FineStep(style="compact"))
        scheme = RewardScheme({"execution_match": 1.0}, {})
        assert fingerprint(scheme) == fingerprint(replace(scheme, outcome={"execution_match": 1.0}))
        assert fingerprint(scheme) != fingerprint(replace(scheme, outcome={"execution_match": 2.0}))
        assert fingerprint(scheme) != fingerprint(replace(scheme, own={"len": len}))

    def test_objects_that_are_no_records_differ_by_name_and_not_by_address(self):
        class Own:
            pass

        assert fingerprint(Own()) == fingerprint(Own()) != fingerprint(object())
        assert fingerprint(len) != fingerprint(repr)
        assert fingerprint({"a", "b", "c"}) == fingerprint({"c", "b", "a"}) != fingerprint({"a"})

    def test_they_are_the_same_in_every_process(self):
        script = (
            "from text2sql_gym.state import fingerprint; from text2sql_gym.types import Limits;"
            "print(fingerprint((Limits(), {'a', 'b', 'c'})))"
        )
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert run.stdout.strip() == fingerprint((Limits(), {"a", "b", "c"}))

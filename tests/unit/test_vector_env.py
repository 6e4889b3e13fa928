"""`Text2SQLVectorEnv`: what single environments give, with the long statements side by side."""

import copy
import os
import pickle
import sqlite3
import threading
import warnings
from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

from text2sql_gym.backends import open_backend
from text2sql_gym.backends.beside import Answers, Beside, Pending
from text2sql_gym.backends.sqlite import SqliteBackend
from text2sql_gym.backends.worker_pool import worker_pool
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.errors import EnvironmentFault, GoldError, StateError
from text2sql_gym.matching.companions import companion
from text2sql_gym.matching.r_ves import _without_memory
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.types import Limits
from text2sql_gym.vector import Text2SQLVectorEnv

COUNT = "SELECT count(*) FROM sale"
LONG_COUNT = "SELECT count(trim(city)) FROM sale"  # trim may be one long call: for a worker
CITIES = "SELECT trim(city), count(*) FROM sale GROUP BY city"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
LIMITS = {"vm_steps": 1_000_000, "memory_mb": 258, "seconds": 60.0}
ACTIONS = [
    FineStep.call("", "SELECT * FROM sale"),
    FineStep.call("", "select *  from SALE"),
    FineStep.call("", LONG_COUNT),
    FineStep.call("", CITIES),
    FineStep.call("", ENDLESS),
    FineStep.call("", "SELECT trim(nme) FROM sale"),
    "hello",
    FineStep.answer("", COUNT),
    FineStep.answer("", LONG_COUNT),
    FineStep.answer("", CITIES),
    FineStep.answer("", ENDLESS),
]


def write(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, city TEXT)")
        cities = [("Oslo",), ("Rome",), ("Rome",), ("Kyiv",)]
        connection.executemany("INSERT INTO sale (city) VALUES (?)", cities)
        connection.commit()
    return str(path)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write(tmp_path_factory.mktemp("vector") / "shop.sqlite")


@pytest.fixture(scope="module", autouse=True)
def workers_stay(shop):
    """Keep the worker processes from one test to the next."""
    with closing(open_backend(shop, Limits(**LIMITS))):
        yield


@pytest.fixture(scope="module")
def tasks(shop):
    """Tasks whose golds are light, need a worker, and are missing."""
    return [
        {"task_id": "count", "database": shop, "question": "How many?", "gold_sql": COUNT},
        {"task_id": "long", "database": shop, "question": "?", "gold_sql": [CITIES, LONG_COUNT]},
        {"task_id": "free", "database": shop, "question": "What now?"},
    ]


@pytest.fixture
def make(tasks):
    made = []

    def make(num_envs=3, **options):
        given = {"tasks": tasks, "max_turns": 4, "limits": LIMITS, "render_mode": "ansi"}
        made.append(gym.make_vec("Text2SQL-v0", num_envs, **{**given, **options}))
        return made[-1]

    yield make
    for envs in made:
        envs.close()


@pytest.fixture
def singles(tasks):
    envs = [Text2SQLEnv(tasks=tasks, max_turns=4, limits=LIMITS) for _ in range(3)]
    yield envs
    for env in envs:
        env.close()


def busy_worker(pool):
    """Wait until the one statement under way has reached its worker; return the process id."""
    while not (pids := pool.pids(busy=True)):
        threading.Event().wait(0.001)
    (pid,) = pids
    return pid


def same(one, other):
    """Compare what vector environments return, arrays and all."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


class TestGymnasium:
    def test_make_vec_uses_it_without_a_warning(self, tasks):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            envs = gym.make_vec("Text2SQL-v0", num_envs=2, tasks=tasks)
        assert type(envs.unwrapped) is Text2SQLVectorEnv and envs.num_envs == 2
        assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
        envs.reset(seed=0)
        assert envs.action_space.contains(envs.action_space.sample())
        assert envs.step(envs.action_space.sample())[0] in envs.observation_space
        envs.close()

    def test_the_spec_survives_json_and_makes_the_same_vector(self, make):
        envs = make(2, autoreset_mode="SameStep")
        again = gym.make_vec(EnvSpec.from_json(envs.spec.to_json()))
        assert again.num_envs == 2 and again.metadata == envs.metadata
        assert same(again.reset(seed=1), envs.reset(seed=1))
        assert same(again.step(ACTIONS[7:9]), envs.step(ACTIONS[7:9]))
        again.close()

    @pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
    def test_it_gives_what_the_serial_vector_gives(self, make, tasks, mode):
        serial = gym.make_vec(
            "Text2SQL-v0", 3, "sync", {"autoreset_mode": mode},
            tasks=tasks, max_turns=4, limits=LIMITS, render_mode="ansi",
        )  # fmt: skip
        envs = make(3, autoreset_mode=mode)
        rng = np.random.default_rng(0)
        assert same(envs.reset(seed=5), serial.reset(seed=5))
        for _ in range(25):
            actions = tuple(rng.choice(ACTIONS, 3).tolist())
            assert same(envs.step(actions), serial.step(actions))
        assert envs.render() == serial.render()
        assert same(envs.reset(seed=[3, None, 4]), serial.reset(seed=[3, None, 4]))
        serial.close()

    def test_a_caller_resets_some_where_nothing_is_reset_by_itself(self, make, tasks):
        serial = gym.make_vec(
            "Text2SQL-v0", 3, "sync", {"autoreset_mode": "Disabled"},
            tasks=tasks, max_turns=4, limits=LIMITS,
        )  # fmt: skip
        envs = make(3, autoreset_mode="Disabled")
        actions = (ACTIONS[8], ACTIONS[2], ACTIONS[7])
        for one in (envs, serial):
            one.reset(seed=6)
            one.step(actions)
        with pytest.raises(gym.error.ResetNeeded, match=r"environments \[0, 2\]"):
            envs.step(actions)
        mask = np.array([True, False, True])
        for _ in range(3):
            options = {"reset_mask": mask.copy()}
            assert same(envs.reset(options=options), serial.reset(options=dict(options)))
            assert "reset_mask" in options
            assert same(envs.step(actions), serial.step(actions))
            mask = np.array([True, True, True])

    def test_attributes_and_methods_of_the_environments_can_be_had(self, make):
        envs = make(2)
        envs.reset(options={"task_id": ["free", "count"]})
        assert [task.task_id for task in envs.get_attr("task")] == ["free", "count"]
        assert envs.call("max_turns") == (4, 4)
        assert [len(messages) for messages in envs.call("messages")] == [2, 2]
        envs.call("reset", options={"task_id": "long"})
        assert [task.task_id for task in envs.get_attr("task")] == ["long", "long"]

    def test_the_environments_share_their_tasks(self, make):
        first, second = make(2).unwrapped.envs
        assert first.tasks is second.tasks
        assert first.action_space is not second.action_space

    @settings(deadline=None, max_examples=10)
    @given(steps=st.integers(0, 5), ahead=st.booleans())
    def test_a_pickled_copy_goes_on_alike(self, tasks, steps, ahead):
        envs = Text2SQLVectorEnv(2, tasks=tasks, max_turns=4, limits=LIMITS)
        envs.reset(seed=2)
        for step in range(steps):
            envs.step((ACTIONS[step], ACTIONS[step + 2]))
        running = [index for index in range(2) if envs.envs[index].running]
        if ahead:
            for index in running:
                envs.submit(index, ACTIONS[2 - 2 * index])
        twin = pickle.loads(pickle.dumps(envs))
        assert twin.pending == envs.pending
        for one in (envs, twin):
            one.seen = []
            while one.pending:
                one.seen += one.collect()
        assert sorted(envs.seen) == sorted(twin.seen)
        assert len(envs.seen) == (len(running) if ahead else 0)
        assert same(envs.step(ACTIONS[3:5]), twin.step(ACTIONS[3:5]))
        envs.close()
        twin.close()

    def test_a_copy_begins_a_turn_anew_whose_statement_is_under_way(self, tasks):
        envs = Text2SQLVectorEnv(1, tasks=tasks, limits={**LIMITS, "sql_characters": 19_997})
        envs.reset(options={"task_id": "free"})
        envs.submit(0, FineStep.call("", "SELECT trim(city) AS anew FROM sale"))
        assert envs.pending == [0]
        twin = pickle.loads(pickle.dumps(envs))
        assert twin.collect() == envs.collect() != []
        envs.close()
        twin.close()


class TestSomeAtATime:
    @settings(deadline=None, max_examples=20)
    @given(st.data())
    def test_any_schedule_gives_every_environment_what_it_would_have_alone(self, tasks, data):
        envs = Text2SQLVectorEnv(3, tasks=tasks, max_turns=4, limits=LIMITS)
        ids = [data.draw(st.sampled_from(["count", "long", "free"])) for _ in range(3)]
        taken, answers = [[], [], []], [[], [], []]
        for env_id, answer in envs.reset_some(
            {env_id: {"task_id": task_id} for env_id, task_id in enumerate(ids)}
        ).items():
            answers[env_id].append(answer)
        for _ in range(data.draw(st.integers(1, 10))):
            free = [i for i in range(3) if envs.envs[i].running and i not in envs.pending]
            for env_id in data.draw(st.permutations(free))[: data.draw(st.integers(0, 3))]:
                action = data.draw(st.sampled_from(ACTIONS))
                taken[env_id].append(action)
                envs.submit(env_id, action)
            for answer in envs.collect(wait=data.draw(st.booleans())):
                answers[answer.env_id].append(answer)
        while envs.pending:
            for answer in envs.collect():
                answers[answer.env_id].append(answer)
        for env_id, task_id in enumerate(ids):
            with closing(Text2SQLEnv(tasks=tasks, max_turns=4, limits=LIMITS)) as env:
                alone = [env.reset(options={"task_id": task_id})]
                alone = [(alone[0][0], 0.0, False, False, alone[0][1])]
                alone += [env.step(action) for action in taken[env_id]]
                assert [tuple(answer[1:]) for answer in answers[env_id]] == alone
        envs.close()

    def test_a_partial_batch_steps_the_named_and_leaves_the_others(self, make, singles):
        envs = make()
        prompts, _ = envs.reset(seed=1)
        for seed, env in enumerate(singles):
            env.reset(seed=seed + 1)
        answers = envs.step_some({2: ACTIONS[3], 0: ACTIONS[0]})
        assert sorted(answers) == [0, 2]
        for env_id, action in ((0, ACTIONS[0]), (2, ACTIONS[3])):
            assert tuple(answers[env_id][1:]) == singles[env_id].step(action)
        assert envs.envs[1].messages == singles[1].messages
        mask = np.array([True, False, False])
        assert envs.reset(options={"reset_mask": mask})[0][1] == prompts[1]

    def test_a_draw_is_made_once_however_often_its_turn_is_tried(self, make, singles):
        envs = make(limits={**LIMITS, "sql_characters": 19_999})  # its golds are not known yet
        env = singles[0]
        seeds = [s for s in range(40) if env.reset(seed=s)[1]["task_id"] != "long"][:3]
        envs.reset(seed=seeds)
        for seed, env in zip(seeds, singles, strict=True):
            env.reset(seed=seed)
        for _ in range(8):
            drawn = envs.reset()[1]["task_id"]
            assert list(drawn) == [env.reset()[1]["task_id"] for env in singles]

    def test_one_is_told_while_another_still_waits_for_its_slow_query(self, make, monkeypatch):
        monkeypatch.setenv("TEXT2SQL_WORKERS", "2")
        limits = {"vm_steps": 10**12, "seconds": 600.0, "memory_mb": 259}
        envs = make(limits=limits)
        envs.reset(options={"task_id": "count"})
        envs.submit(0, ACTIONS[4])
        envs.submit(1, ACTIONS[3])
        envs.submit(2, ACTIONS[0])
        told = []
        while len(told) < 2:
            told += [answer.env_id for answer in envs.collect()]
        assert told == [2, 1] and envs.pending == [0]
        assert envs.collect(wait=False) == []
        envs.submit(2, ACTIONS[8])
        (answer,) = envs.collect()
        assert answer.info["outcome"] == "match" and envs.pending == [0]
        os.kill(busy_worker(worker_pool("sqlite", 259)), 9)
        (answer,) = envs.collect()
        assert answer.env_id == 0 and "died" in answer.info["error"]
        assert not envs.pending and envs.collect() == []

    def test_what_several_ask_for_at_once_is_run_once(self, make, monkeypatch):
        envs = make(limits={**LIMITS, "sql_characters": 19_998})  # its golds are not known yet
        asked = []

        def watched(self, sql, *, max_rows, submit=SqliteBackend.submit):
            asked.append((self.url, sql, max_rows))
            return submit(self, sql, max_rows=max_rows)

        monkeypatch.setattr(SqliteBackend, "submit", watched)
        envs.reset(options={"task_id": "long"})
        assert any(sql == CITIES for _, sql, _ in asked) and len(asked) == len(set(asked))
        asked.clear()
        answers = envs.step_some(dict.fromkeys(range(3), ACTIONS[3]))
        assert len(asked) == 1
        assert answers[0][1:] == answers[1][1:] == answers[2][1:]

    def test_environments_are_put_into_states_of_their_own(self, make):
        envs, other = make(2), make(2)
        envs.reset(seed=1)
        _, _, _, _, infos = envs.step((ACTIONS[3], ACTIONS[8]))
        states = list(infos["state"])
        observations, restored = other.reset(options={"state": states})
        assert same(restored["state"], infos["state"])
        assert other.unwrapped.envs[1].ended
        assert same(restored["reward_terms"], infos["reward_terms"])
        twice, _ = other.reset(options={"state": states[0]})
        assert twice == (observations[0], observations[0])
        with pytest.raises(StateError) as caught:
            other.reset(options={"state": [states[0], "hello"]})
        assert caught.value.__notes__ == ["in environment 1 of the vector"]


class TestBeside:
    def test_an_environment_of_the_vector_waits_when_it_is_used_alone(self, make, singles):
        envs = make()
        envs.reset(seed=1)
        singles[0].reset(seed=1)
        action = FineStep.call("", "SELECT trim(city) AS alone FROM sale")
        assert envs.unwrapped.envs[0].step(action) == singles[0].step(action)

    def test_a_long_statement_is_awaited_once_per_number_of_rows(self, shop):
        with closing(open_backend(shop, Limits(**LIMITS))) as database:
            beside = Beside(database, Answers(Limits(**LIMITS)))
            sql = f"{LONG_COUNT} UNION ALL SELECT length(trim(city)) FROM sale"
            for max_rows in (1, 3, 1):
                table = database.execute(sql, max_rows=max_rows)
                while True:
                    try:
                        assert beside.execute(sql, max_rows=max_rows) == table
                        break
                    except Pending as pending:
                        pending.statement.result()
                assert len(table.rows) == max_rows

    def test_statements_of_dropped_turns_do_not_hold_up_others(self, shop, tasks, monkeypatch):
        monkeypatch.setenv("TEXT2SQL_WORKERS", "1")
        limits = {"vm_steps": 10**12, "seconds": 600.0, "memory_mb": 264}
        with closing(open_backend(shop, Limits(**limits))) as other:
            envs = Text2SQLVectorEnv(3, tasks=tasks, limits=limits)
            envs.reset(options={"task_id": "free"})
            assert other.execute(CITIES, max_rows=9).rows  # a worker has started
            for env_id in range(3):
                sql = ENDLESS.replace("SELECT 1", f"SELECT {env_id}")
                envs.submit(env_id, FineStep.call("", sql))
            pool = worker_pool("sqlite", 264)
            busy = busy_worker(pool)
            envs.close()
            os.kill(busy, 9)
            assert other.execute(LONG_COUNT, max_rows=1).rows == ((4,),)


class TestDuckDB:
    @pytest.fixture
    def duck_tasks(self, tmp_path):
        duckdb = pytest.importorskip("duckdb")
        with closing(duckdb.connect(str(tmp_path / "shop.duckdb"))) as connection:
            connection.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, city TEXT)")
            connection.execute("INSERT INTO sale VALUES (1, 'Oslo'), (2, 'Rome')")
        url = f"duckdb:///{tmp_path / 'shop.duckdb'}"
        return [{"task_id": "count", "database": url, "question": "How many?", "gold_sql": COUNT}]

    def test_an_engine_that_runs_everything_in_workers_gives_the_same(self, duck_tasks):
        patient = {"tasks": duck_tasks, "limits": {"seconds": 60.0}}
        envs, single = Text2SQLVectorEnv(2, **patient), Text2SQLEnv(**patient)
        assert envs.reset(seed=0)[0] == (single.reset(seed=0)[0],) * 2
        answers = envs.step_some({0: ACTIONS[0], 1: ACTIONS[0]})
        assert tuple(answers[0][1:]) == tuple(answers[1][1:]) == single.step(ACTIONS[0])
        answers = envs.step_some({1: ACTIONS[7]})
        assert tuple(answers[1][1:]) == single.step(ACTIONS[7])
        envs.close()
        single.close()

    def test_what_is_timed_is_not_put_aside(self, duck_tasks):
        with closing(open_backend(duck_tasks[0]["database"])) as database:
            assert _without_memory(Beside(database, Answers(Limits())), Limits()) is database


class TestFaults:
    @pytest.fixture
    def broken(self, tmp_path, tasks):
        """The tasks, and one whose database cannot be read to its end."""
        path = tmp_path / "broken.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE sale (city TEXT)")
            connection.executemany("INSERT INTO sale VALUES (?)", [("Oslo",)] * 5_000)
            connection.commit()
        content = path.read_bytes()
        path.write_bytes(content[:4096] + b"?" * (len(content) - 4096))  # the schema stays whole
        return [*tasks, {"task_id": "broken", "database": str(path), "question": "?"}]

    def test_a_fault_is_told_with_its_environment_and_the_others_are_through(self, make, broken):
        envs = make(tasks=broken)
        envs.reset(options={"task_id": ["count", "broken", "count"]})
        with pytest.raises(EnvironmentFault) as caught:
            envs.step((ACTIONS[3], ACTIONS[3], ACTIONS[0]))
        assert caught.value.__notes__ == ["in environment 1 of the vector"]
        assert envs.pending == [0, 2]
        alone = make(tasks=broken)
        alone.reset(options={"task_id": ["count", "broken", "count"]})
        expected = alone.step_some({0: ACTIONS[3], 2: ACTIONS[0]})
        assert {answer.env_id: answer for answer in envs.collect()} == expected
        assert [len(env.messages) for env in envs.unwrapped.envs] == [4, 2, 4]
        assert envs.step((ACTIONS[0], "hello", ACTIONS[0]))[4]["turn"].tolist() == [2, 1, 2]

    def test_an_ended_episode_is_not_lost_to_the_fault_of_another(self, make, broken):
        envs = make(2, tasks=broken, autoreset_mode="SameStep")
        envs.reset(options={"task_id": ["count", "broken"]})
        with pytest.raises(EnvironmentFault):
            envs.step((ACTIONS[7], ACTIONS[3]))
        assert envs.pending == [0]
        ended, begun = envs.collect()
        assert (ended.env_id, ended.info["outcome"], ended.reward > 1) == (0, "match", True)
        assert (begun.env_id, begun.info["turn"], begun.reward) == (0, 0, 0.0)

    def test_two_faults_are_told_one_after_the_other(self, make, broken):
        envs = make(2, tasks=broken)
        envs.reset(options={"task_id": "broken"})
        for call in (lambda: envs.step((ACTIONS[3], ACTIONS[3])), envs.collect):
            with pytest.raises(EnvironmentFault):
                call()
        assert not envs.pending
        assert envs.step(("hello", "hello"))[4]["turn"].tolist() == [1, 1]

    def test_collect_loses_no_answer_to_a_fault(self, make, broken):
        envs = make(tasks=broken)
        envs.reset(options={"task_id": ["count", "broken", "free"]})
        for env_id in (0, 1, 2):
            envs.submit(env_id, FineStep.call("", "SELECT count(city) FROM sale"))
        assert [answer.env_id for answer in envs.collect()] == [0]
        assert envs.pending == [1, 2]
        with pytest.raises(EnvironmentFault):
            envs.collect()
        assert [answer.env_id for answer in envs.collect()] == [2]

    def test_a_broken_gold_is_a_fault_of_its_environment_only(self, make, tasks):
        bad = {**tasks[0], "task_id": "bad", "gold_sql": "SELECT nme FROM sale"}
        envs = make(2, tasks=[*tasks, bad])
        with pytest.raises(GoldError, match="'bad'"):
            envs.reset(options={"task_id": ["bad", "long"]})
        with pytest.raises(gym.error.ResetNeeded, match=r"\[0\]"):
            envs.step((ACTIONS[0], ACTIONS[0]))
        assert envs.step_some({1: ACTIONS[8]})[1].info["outcome"] == "match"

    @pytest.mark.parametrize(
        ("call", "error", "told"),
        [
            (lambda envs: envs.step(("hello",)), ValueError, "expected 3 actions, got 1"),
            (lambda envs: envs.submit(3, "hello"), IndexError, "below 3"),
            (lambda envs: envs.submit(-1, "hello"), IndexError, "below 3"),
            (lambda envs: envs.reset(seed=[1, 2]), ValueError, "seed: expected 3 values, got 2"),
            (lambda envs: envs.reset(options={"task_id": ["free"]}), ValueError, "task_id: expec"),
            (lambda envs: envs.reset(options={"task": "free"}), ValueError, "expected only"),
            (lambda envs: envs.reset(options={"reset_mask": [True] * 3}), ValueError, "reset_mask"),
            (lambda envs: envs.reset(options={"reset_mask": np.zeros(3, bool)}), ValueError, "tru"),
        ],
    )  # fmt: skip
    def test_a_wrong_call_is_told_what_was_expected(self, make, call, error, told):
        envs = make()
        envs.reset(seed=0)
        with pytest.raises(error, match=told):
            call(envs)
        assert not envs.pending and envs.step(["hello"] * 3)[4]["turn"].tolist() == [1, 1, 1]

    def test_nothing_is_begun_twice_or_before_a_reset(self, make):
        envs = make()
        with pytest.raises(gym.error.ResetNeeded, match=r"\[0, 1, 2\]"):
            envs.step(["hello"] * 3)
        envs.reset(seed=0)
        envs.submit(1, "hello")
        for call in (
            lambda: envs.submit(1, "hello"),
            lambda: envs.submit_reset(1),
            lambda: envs.step(["hello"] * 3),
            lambda: envs.step_some({0: "hello"}),
            envs.reset,
        ):
            with pytest.raises(RuntimeError, match=r"\[1\] have a turn under way"):
                call()
        assert [answer.env_id for answer in envs.collect()] == [1]

    @pytest.mark.parametrize("wrong", [{"num_envs": 0}, {"num_envs": 2, "autoreset_mode": "Never"}])
    def test_a_wrong_argument_is_told_at_once(self, tasks, wrong):
        with pytest.raises(ValueError, match="num_envs must be|Never"):
            Text2SQLVectorEnv(**wrong, tasks=tasks)


class TestClose:
    @pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
    def test_nothing_is_left_behind_not_even_by_turns_under_way(self, tasks, make):
        limits = Limits(seconds=0.5, vm_steps=10**12, memory_mb=261)

        def cycle():
            envs = gym.make_vec("Text2SQL-v0", 8, tasks=tasks, limits=limits)
            envs.reset(seed=0)
            for env_id in range(8):
                envs.submit(env_id, ACTIONS[4])
            pids = worker_pool("sqlite", 261).pids()
            envs.close()
            envs.close()
            assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
            return len(os.listdir("/proc/self/fd")), threading.active_count()

        assert cycle() == cycle() == cycle()

    def test_a_copy_of_an_environment_owns_its_databases(self, singles):
        env = singles[0]
        env.reset(seed=0)
        other = copy.copy(env)
        other.reset(seed=0)
        other.close()
        assert env.step(ACTIONS[0])[4]["call_outcome"] == "ok"

    def test_a_companion_waits_where_its_database_waits(self, shop, tmp_path):
        copied = write(tmp_path / "copy.sqlite")
        with closing(open_backend(shop)) as database:
            beside = companion(Beside(database, Answers(Limits())), copied, Limits())
            assert isinstance(beside, Beside)
            assert companion(database, copied, Limits()) is beside.database

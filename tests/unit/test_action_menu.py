"""`ActionMenu`: what its actions do, what its features say, and when."""

import os
import pickle
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from menu_shop import QUESTIONS, actions_of, look_at, shop_menu, shop_tasks

from text2sql_gym.datasets import load_tasks
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.types import Task
from text2sql_gym.wrappers import ActionMenu
from text2sql_gym.wrappers.menu import FEATURES, Feature, Kind, Sizes

WITH_MENU = [name for name in QUESTIONS if name != "no_text"]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return shop_tasks(tmp_path_factory.mktemp("menu"))


@pytest.fixture
def env(tasks):
    with shop_menu(tasks, proposals=2) as made:
        yield made


def begin(env, name):
    """Begin a task; return the features as actions x FEATURES."""
    observation, _ = env.reset(options={"task_id": name})
    return observation.reshape(-1, FEATURES)


def after(env, action):
    return env.step(action)[0].reshape(-1, FEATURES)


def submissions(env):
    """Submissions by candidate number."""
    return {env.menu.items[a].place: a for a in actions_of(env, Kind.SUBMIT)}


class TestCandidates:
    @pytest.mark.parametrize("name", WITH_MENU)
    def test_exactly_one_submission_is_right(self, env, name):
        begin(env, name)
        outcomes = {}
        for place, action in submissions(env).items():
            begin(env, name)
            _, reward, terminated, _, info = env.step(action)
            assert terminated
            outcomes[place] = info["outcome"]
            assert (reward >= 1.0) == (info["outcome"] == "match")
        right = [place for place, outcome in outcomes.items() if outcome == "match"]
        assert right == [env.menu.right] and len(outcomes) == 5

    def test_the_place_of_the_right_one_differs_between_tasks_and_seeds(self, tasks):
        rights = set()
        for seed in range(6):
            with shop_menu(tasks, seed=seed) as env:
                for name in WITH_MENU:
                    begin(env, name)
                    rights.add(env.menu.right)
        assert len(rights) >= 4

    @pytest.mark.parametrize("name", ["looked_up", "counted", "joined"])
    def test_before_a_call_nothing_tells_the_right_one_from_a_respelt_one(self, env, name):
        features = begin(env, name)
        rows = submissions(env)
        right = features[rows[env.menu.right]]
        alike = [p for p, row in rows.items() if (features[row] == right).all()]
        assert len(alike) >= 3, "the right one and two that are respelt"

    def test_a_question_that_quotes_the_value_tells_it(self, env):
        features = begin(env, "quoted")
        quoted = {p for p, row in submissions(env).items() if features[row, Feature.QUOTED]}
        assert env.menu.right in quoted
        begin(env, "looked_up")
        assert not begin(env, "looked_up")[:, Feature.QUOTED].any()

    def test_a_task_without_a_text_to_compare_has_no_menu(self, env):
        assert env.task_ids == tuple(WITH_MENU)
        with pytest.raises(ValueError, match="'no_text' has no menu"):
            env.reset(options={"task_id": "no_text"})

    def test_tasks_none_of_which_has_a_menu_are_refused_at_reset(self, tasks):
        with shop_menu(tasks[-1:]) as env, pytest.raises(ValueError, match="no task has a menu"):
            env.reset(seed=0)


class TestWhatCallsShow:
    @pytest.mark.parametrize("name", ["looked_up", "counted", "joined"])
    def test_a_look_at_the_right_column_decides(self, env, name):
        begin(env, name)
        features = after(env, look_at(env, "town"))
        for place, row in submissions(env).items():
            other_column = env.menu.candidates[place].lookup.column != "town"
            assert features[row, Feature.SEEN] == (place == env.menu.right)
            assert features[row, Feature.ABSENT] <= (place != env.menu.right)
            if other_column:
                assert not features[row, Feature.ABSENT]
        respelt = [c for c in env.menu.candidates if "ienna-" in c.lookup.value]
        assert name == "counted" or len(respelt) >= 3
        assert features[look_at(env, "town"), Feature.SEEN] == 1

    def test_a_look_elsewhere_shows_no_value(self, env):
        begin(env, "looked_up")
        features = after(env, look_at(env, "state"))
        assert not features[:, Feature.SEEN].any()
        assert features[look_at(env, "state"), Feature.ABSENT] == 1
        rows = list(submissions(env).values())
        assert not features[rows, Feature.ABSENT].any()

    def test_a_peek_shows_the_values_of_its_rows_and_excludes_none(self, env):
        begin(env, "looked_up")
        (peek,) = [
            a for a in actions_of(env, Kind.PEEK) if env.menu.items[a].lookup.table == "shop"
        ]
        features = after(env, peek)
        rows = submissions(env)
        assert features[rows[env.menu.right], Feature.SEEN] == 1  # Vienna-55 is in the first row
        assert not features[list(rows.values()), Feature.ABSENT].any()

    @pytest.mark.parametrize("name", ["looked_up", "counted"])
    def test_a_trial_says_whether_there_was_anything_to_show(self, env, name):
        for place, candidate in enumerate(begin(env, name) is not None and env.menu.candidates):
            begin(env, name)
            (trial,) = actions_of(env, Kind.TRIAL, place)
            features = after(env, trial)
            stored = candidate.lookup.column == "town" and candidate.lookup.value in (
                "Vienna-55", "Paris-37", "Oslo-19",
            )
            for row in (trial, submissions(env)[place]):
                assert features[row, Feature.RAN] == stored
                assert features[row, Feature.EMPTY] == (not stored)
            others = [row for p, row in submissions(env).items() if p != place]
            assert not features[others][:, [Feature.RAN, Feature.EMPTY]].any()

    def test_a_slip_is_an_error_and_the_next_call_recovers(self, env):
        begin(env, "looked_up")
        (slip,) = actions_of(env, Kind.SLIP)
        observation, reward, _, _, info = env.step(slip)
        features = observation.reshape(-1, FEATURES)
        assert info["call_outcome"] == "sql_error" and reward < 0
        assert features[slip, Feature.FAILED] == 1 and features[:, Feature.ERROR].all()
        assert not after(env, look_at(env, "town"))[:, Feature.ERROR].any()

    def test_a_repeat_is_a_duplicate_that_shows_nothing_new(self, env):
        features = begin(env, "looked_up")
        (repeat,) = actions_of(env, Kind.REPEAT)
        assert not env.action_masks()[repeat] and not features[repeat, Feature.AVAILABLE]
        _, _, _, _, before = env.step(look_at(env, "town"))
        assert env.action_masks()[repeat]
        _, reward, _, _, info = env.step(repeat)
        assert info["call_outcome"] == "duplicate" and reward == pytest.approx(-0.1)
        assert info["kind"] == "REPEAT" and info["menu_state"] != before["menu_state"]

    def test_a_proposal_reaches_the_tool(self, env):
        begin(env, "looked_up")
        for action in actions_of(env, Kind.PROPOSE):
            begin(env, "looked_up")
            _, _, _, _, info = env.step(action)
            assert (info["tool"], info["call_outcome"]) == ("propose_schema", "ok")
        assert len(actions_of(env, Kind.PROPOSE)) == 2

    def test_a_look_marks_the_proposal_of_its_column(self, env):
        begin(env, "looked_up")
        features = after(env, look_at(env, "town"))
        proposals = actions_of(env, Kind.PROPOSE)
        columns = {env.menu.items[a].lookup.column: a for a in proposals}
        assert features[columns["town"], Feature.SEEN] == 1
        assert features[columns["name"], Feature.SEEN] == 0
        features = after(env, look_at(env, "name"))
        assert features[columns["name"], Feature.ABSENT] == 1

    def test_turns_left_are_shown(self, env):
        assert (begin(env, "quoted")[:, Feature.TURNS] == 1.0).all()
        np.testing.assert_allclose(after(env, look_at(env, "town"))[:, Feature.TURNS], 6 / 7)

    def test_the_key_of_a_state_is_what_is_known_and_not_when(self, env):
        town, name = (begin(env, "looked_up"), look_at(env, "town"))[1], look_at(env, "name")
        keys = []
        for order in ([town, name], [name, town], [name, name]):
            begin(env, "looked_up")
            env.step(order[0])
            keys.append(env.step(order[1])[4]["menu_state"])
        assert keys[0] == keys[1] != keys[2]


class TestMasks:
    @pytest.mark.parametrize("name", WITH_MENU)
    def test_what_the_task_lacks_is_masked_and_malformed_if_taken(self, tasks, name):
        with shop_menu(tasks, looks=9, peeks=5) as env:
            features = begin(env, name)
            mask = env.action_masks()
            there = [i is not None and i.kind is not Kind.REPEAT for i in env.menu.items]
            assert mask.tolist() == there and not mask.all()
            np.testing.assert_array_equal(features[:, Feature.AVAILABLE] > 0, mask)
            for action in np.flatnonzero(~mask):
                begin(env, name)
                _, reward, terminated, _, info = env.step(action)
                assert info["call_outcome"] == "malformed" and not terminated and reward < 0
                np.testing.assert_array_equal(info["action_mask"], mask)

    def test_a_number_that_is_no_action_is_refused(self, env):
        begin(env, "quoted")
        with pytest.raises(ValueError, match="expected an action below 20"):
            env.step(20)

    def test_proposals_need_their_tool(self, tasks):
        with pytest.raises(ValueError, match="propose_schema"):
            ActionMenu(Text2SQLEnv(tasks=tasks), proposals=1)

    def test_only_a_text_environment_of_the_protocol_can_be_wrapped(self):
        with pytest.raises(ValueError, match="expected a Text2SQLEnv"):
            ActionMenu(gym.make("CartPole-v1"))

    @pytest.mark.parametrize("fields", [{"candidates": 1}, {"looks": -1}, {"peeks": -1}])
    def test_sizes_out_of_range_are_refused(self, fields):
        with pytest.raises(ValueError, match=next(iter(fields))):
            Sizes(**fields)


class TestContract:
    def test_gymnasium_and_stable_baselines_accept_it(self, env):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message=".*different from the unwrapped version")
            warnings.filterwarnings("ignore", message=".*alternative render modes")
            check_env(env)
            checker = pytest.importorskip("stable_baselines3.common.env_checker")
            checker.check_env(env)

    def test_two_with_the_same_seeds_and_actions_are_equal(self, tasks):
        draws = np.random.default_rng(0)
        with shop_menu(tasks) as one, shop_menu(tasks) as two:
            for seed in [3, *[None] * 12]:
                first, second = one.reset(seed=seed), two.reset(seed=seed)
                done = False
                while not done:
                    np.testing.assert_array_equal(first[0], second[0])
                    assert one.observation_space.contains(first[0])
                    np.testing.assert_equal(first[-1], second[-1])
                    action = draws.choice(np.flatnonzero(one.action_masks()))
                    first, second = one.step(action), two.step(action)
                    done = first[2] or first[3]
                assert first[1:4] == second[1:4]

    def test_a_pickled_copy_goes_on_where_the_original_is(self, env):
        begin(env, "looked_up")
        env.step(look_at(env, "name"))
        copy = pickle.loads(pickle.dumps(env))
        for action in (look_at(env, "town"), submissions(env)[0]):
            original, copied = env.step(action), copy.step(action)
            np.testing.assert_array_equal(original[0], copied[0])
            np.testing.assert_equal(original[1:], copied[1:])

    def test_menus_are_the_same_in_every_process(self, tmp_path):
        program = (
            "import hashlib, sys; sys.path.insert(0, 'tests/unit')\n"
            "from pathlib import Path; from menu_shop import shop_menu, shop_tasks\n"
            f"env = shop_menu(shop_tasks(Path({str(tmp_path)!r})), proposals=2)\n"
            "for name in env.task_ids:\n"
            "    env.reset(options={'task_id': name}); menu = env.menu\n"
            "    text = repr(menu.items) + repr(menu.template.tolist())\n"
            "    print(hashlib.sha256(text.encode()).hexdigest())\n"
        )
        printed = set()
        for hash_seed in ("1", "2"):
            (tmp_path / "shop.sqlite").unlink(missing_ok=True)
            environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
            done = subprocess.run(
                [sys.executable, "-c", program], env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            printed.add(done.stdout)
        assert len(printed) == 1 and len(printed.pop().split()) == len(WITH_MENU)

    def test_every_task_of_the_embedded_dataset_that_compares_a_text_has_a_menu(self, tmp_path):
        tasks = load_tasks("synthetic", tmp_path, "validation", databases=2)
        with shop_menu(tasks) as env:
            assert set(env.task_ids) == {t.task_id for t in tasks if "'" in t.gold_sql[0]}
            assert len(env.task_ids) >= 5

    def test_any_state_can_be_gone_back_to(self, env, tasks):
        draws = np.random.default_rng(1)
        with shop_menu(tasks, proposals=2) as other:
            for name in 3 * WITH_MENU:
                visited = [env.reset(options={"task_id": name})]
                done = False
                while not done:
                    # also those that cannot be taken, and repeats of every kind
                    action = draws.integers(20 - 5 * (len(visited) < 6))
                    visited.append(env.step(action))
                    done = visited[-1][2] or visited[-1][3]
                for step in visited:
                    observation, info = other.reset(options={"state": step[-1]["state"]})
                    np.testing.assert_array_equal(observation, step[0])
                    assert info["menu_state"] == step[-1]["menu_state"]
                    np.testing.assert_array_equal(other.action_masks(), step[-1]["action_mask"])


class TestWhatIsNotEnough:
    def test_a_look_that_was_cut_excludes_no_value(self, tmp_path):
        path = tmp_path / "towns.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE shop (name TEXT, town TEXT)")
            rows = [(f"shop {n}", f"Vienna-{n}") for n in range(51, 58)]
            connection.executemany("INSERT INTO shop VALUES (?, ?)", rows)
            connection.commit()
        gold = "SELECT name FROM shop WHERE town = 'Vienna-57'"
        task = Task("cut", str(path), "Show the name of the shop in Vienna.", (gold,))
        for rows, excluded in ((2, False), (10, True)):
            with ActionMenu(Text2SQLEnv(tasks=[task], limits={"shown_rows": rows})) as env:
                begin(env, "cut")
                features = after(env, look_at(env, "town"))
                rows_by_place = submissions(env)
                respelt = [r for p, r in rows_by_place.items() if p != env.menu.right]
                assert features[respelt, Feature.ABSENT].any() == excluded
                right = submissions(env)[env.menu.right]
                assert features[right, Feature.ABSENT] == 0
                assert features[right, Feature.SEEN] == excluded

    def test_a_look_alike_with_the_right_result_is_left_out(self, tasks):
        # two shops each in Paris and in Vienna, and bird_ex looks at the result alone
        for seed in range(6):
            with ActionMenu(Text2SQLEnv(tasks=tasks, matcher="bird_ex"), seed=seed) as env:
                begin(env, "counted")
                values = {candidate.lookup.value for candidate in env.menu.candidates}
                assert "Paris-37" in values and "Vienna-55" not in values

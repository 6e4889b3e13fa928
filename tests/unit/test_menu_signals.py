"""Learned signals on real menus: rollouts from the middle are exact, models learn from features."""

import numpy as np
import pytest
import torch
from menu_shop import shop_menu, shop_tasks

from agents.credit import ESTIMATORS, assign
from agents.learned import LEARNED, Fitting, monte_carlo
from agents.learned.menu import MenuSignals, example_of, features_of, learnable, pooled
from agents.learned.tree import MenuContinuations, MenuTree
from agents.losses import Objective
from agents.menu_rollout import MenuCollector
from agents.menu_trainer import MenuTrainer, imitate
from agents.policies.menu import MenuAnalyst, MenuNetwork
from agents.trainer import Optimization
from text2sql_gym.wrappers.menu import FEATURES, Feature, Kind

TASKS = ["looked_up", "counted", "joined"]
USERS = [name for name in ESTIMATORS if set(ESTIMATORS[name].needs) & set(LEARNED)]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return shop_tasks(tmp_path_factory.mktemp("menu_signals"))


@pytest.fixture(scope="module")
def make_env(tasks):
    return lambda: shop_menu(tasks, proposals=2)


@pytest.fixture(scope="module")
def network():
    """Random weights with opinions of some strength."""
    made = MenuNetwork(hidden=16, seed=1)
    with torch.no_grad():
        made.score.weight.mul_(30.0)
    return made


@pytest.fixture(scope="module")
def groups(make_env, network):
    collector = MenuCollector(make_env)
    yield collector.collect(network, TASKS, 6, seed=0)
    collector.close()


@pytest.fixture
def tree(make_env):
    made = MenuTree(make_env())
    yield made
    made.close()


def actions(attempt):
    return [step.completion.token_ids[0] for step in attempt.steps]


def test_a_tree_shows_what_an_episode_showed(tree, groups):
    for group in groups:
        for attempt in group.attempts:
            for place, step in enumerate(attempt.steps):
                node = tree.node(group.task_id, actions(attempt)[:place])
                np.testing.assert_array_equal(node.features_AF, step.features_AF)
                assert node.success is None
            end = tree.node(group.task_id, actions(attempt))
            assert end.success == float(attempt.outcome == "match")


def test_a_transition_is_taken_once(tree, groups):
    paths = [actions(attempt) for attempt in groups[0].attempts]
    for _ in range(2):
        for path in paths:
            tree.node(groups[0].task_id, path)
    different = {tuple(path[:end]) for path in paths for end in range(1, len(path) + 1)}
    assert tree.turns == len(different)


def test_there_is_no_action_after_an_end(tree, groups):
    attempt = groups[0].attempts[0]
    with pytest.raises(ValueError, match="has ended"):
        tree.node(groups[0].task_id, [*actions(attempt), 0])


def test_rollouts_estimate_the_chance_that_the_policy_has(tree, network, groups, make_env):
    # from before the last turn allowed, only a submission of the right candidate succeeds
    task_id = groups[0].task_id
    with make_env() as env:
        _, info = env.reset(options={"task_id": task_id})
        peek = env.kinds.index(Kind.PEEK)
        path = (peek,) * (info["remaining_turns"] - 1)
    node = tree.node(task_id, path)
    chance_A = np.exp(network(torch.from_numpy(node.features_AF[None])).detach().numpy()[0])
    count = MenuContinuations(tree, network).successes([(task_id, path)], 4000, seed=3)
    assert count[0] / 4000 == pytest.approx(float(chance_A[node.right]), abs=0.03)


def test_rollouts_with_one_seed_are_the_same(tree, network, groups):
    example = example_of(groups[1])
    found = [
        monte_carlo(example, MenuContinuations(tree, network), attempts=8, best_of=2, seed=5)
        for _ in range(2)
    ]
    for a, b in zip(found[0].before_GS, found[1].before_GS, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_state_that_is_none_is_refused(tree, network):
    with pytest.raises(TypeError, match="expected \\(task id, actions\\)"):
        MenuContinuations(tree, network).successes(["looked_up"], 1, seed=0)


def test_pooled_features_do_not_depend_on_the_places_of_actions(groups):
    features_AF = groups[0].attempts[0].steps[-1].features_AF
    order = np.random.default_rng(0).permutation(len(features_AF))
    np.testing.assert_allclose(pooled(features_AF), pooled(features_AF[order]), rtol=1e-6)


def test_pooled_features_are_mean_and_maximum_over_what_can_be_taken():
    rows = np.zeros((3, FEATURES), dtype=np.float32)
    rows[:, Kind.SUBMIT] = 1.0
    rows[:2, Feature.AVAILABLE] = 1.0
    rows[0, Feature.SEEN], rows[2, Feature.SEEN] = 0.5, 1.0
    found = pooled(rows).reshape(len(Kind), 2, -1)[Kind.SUBMIT]
    assert found[:, Feature.SEEN - len(Kind)].tolist() == [0.25, 0.5]


def test_features_of_a_step_hold_what_its_call_has_shown(groups):
    for attempt in groups[0].attempts:
        found = features_of(attempt)
        width = found.before_SF.shape[1]
        np.testing.assert_array_equal(found.step_SD[:-1, -width:], found.before_SF[1:])
        assert not found.step_SD[-1, -width:].any(), "nothing is shown after the end"


@pytest.fixture(scope="module")
def make_small_env(tasks):
    """Two candidates and one look: what it shows decides."""
    return lambda: shop_menu(tasks, max_turns=4, candidates=2, looks=1, peeks=0, proposals=1)


@pytest.fixture(scope="module")
def small(make_small_env):
    made = MenuCollector(make_small_env)
    yield made
    made.close()


@pytest.fixture(scope="module")
def habits(small):
    """Weights that look first and then often submit the wrong candidate."""
    network = MenuNetwork(hidden=16, seed=0)
    script = MenuAnalyst(
        peek=0.0, look=1.0, aim=1.0, trial=0.0, slip=0.0, repeat=0.0, propose=0.2, know=0.4
    )
    demonstrations = small.demonstrate(script, network, 40 * TASKS, seed=0)
    imitate(network, demonstrations, steps=100, batch_size=64, learning_rate=2e-2)
    return network.state_dict()


@pytest.mark.parametrize("name", USERS)
def test_an_estimator_learns_what_a_look_is_for_from_signals_that_are_learned_on_the_way(
    name, small, make_small_env, habits
):
    policy, estimator = MenuNetwork(hidden=16), ESTIMATORS[name]()
    policy.load_state_dict(habits)
    assert 0.5 < success(small, policy) < 0.75
    fitting = Fitting(hidden=16, steps=20, learning_rate=1e-2)
    signals = MenuSignals.for_estimator(estimator, policy, make_small_env, fitting)
    trainer = MenuTrainer(policy, estimator, Objective(), Optimization(2e-2, warmup=0))
    for update in range(5):
        trainer.update(signals(small.collect(policy, 2 * TASKS, 6, seed=update)))
    assert success(small, policy) > 0.85
    assert (signals.cost["choices"] > 0) == (name in {"pav", "reward_sql"})
    signals.close()


def success(collector, policy):
    groups = collector.collect(policy, TASKS, 24, seed=99)
    return np.mean([a.outcome == "match" for group in groups for a in group.attempts])


def test_the_signals_stand_on_the_steps(groups, network, make_env):
    signals = MenuSignals.for_estimator(ESTIMATORS["pav"](), network, make_env)
    with_signals = signals(groups[:1])
    credit = assign(ESTIMATORS["pav"](), [group.signals() for group in with_signals])
    assert len(credit) == 1
    for group in with_signals:
        view = group.signals()
        for before_S, after_S in zip(
            view.learned("prover_before"), view.learned("prover_after"), strict=True
        ):
            np.testing.assert_array_equal(before_S[1:], after_S[:-1])
    signals.close()


def test_an_estimator_that_needs_no_model_leaves_the_groups_alone(groups, network, make_env):
    signals = MenuSignals.for_estimator(ESTIMATORS["grpo"](), network, make_env)
    assert not learnable(ESTIMATORS["grpo"]())
    assert signals(groups) == list(groups)
    signals.close()

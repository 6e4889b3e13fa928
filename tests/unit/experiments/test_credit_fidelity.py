"""Credit against true advantages: the numbers by hand, and a small measurement from end to end."""

import json
from dataclasses import replace

import numpy as np
import pytest

from agents.credit import ESTIMATORS, assign
from agents.learned.tree import MenuContinuations, MenuTree
from agents.menu_rollout import MenuCollector
from experiments import credit_fidelity as fidelity
from experiments.credit_fidelity import RESULTS, Drawn, merged, part_of, plain
from experiments.credit_fidelity_page import DOCS, interval, mean, page, plot
from experiments.fidelity_pool import Settings, environments, truth, warm_start

SMALL = Settings(
    databases=2,
    tasks=2,
    attempts=10,
    rollouts=24,
    sizes=(2, 8),
    draws=3,
    lessons=1,
    demonstrations=30,
    imitation_steps=30,
)


@pytest.fixture(scope="module")
def made():
    """What attempts and rollouts are made with: collector, network, tree, tasks."""
    tasks, make_env = environments(SMALL)
    collector = MenuCollector(make_env)
    network = warm_start(collector, tasks, SMALL)
    tree = MenuTree(make_env())
    yield collector, network, tree, tasks
    tree.close()
    collector.close()


@pytest.fixture(scope="module")
def pool(made):
    return truth(*made, SMALL)


def drawn(truth, credit, decisions, kinds=None):
    kinds = kinds or ["idle look"] * len(truth)
    return Drawn(np.array(truth), np.array(credit), decisions, kinds, 0.0)


def test_credit_that_is_the_truth_in_another_unit_has_no_bias_and_no_deviation():
    decisions = [("t", "s", 0), ("t", "s", 1), ("t", "r", 0)]
    found = drawn([0.5, -0.5, 0.25], [1.0, -1.0, 0.5], decisions)
    numbers = found.numbers()
    assert (numbers["correlation"], numbers["sign"]) == (1.0, 1.0)
    assert (numbers["bias"], numbers["deviation"]) == (0.0, 0.0)


def test_bias_is_of_the_mean_of_a_decision_and_deviation_is_around_it():
    # two decisions, credited 0 or 2, and -2 or 0, for what is worth 1 and -1: slope 1
    one, two = ("t", "s", 0), ("t", "s", 1)
    numbers = drawn([1.0, 1.0, -1.0, -1.0], [0.0, 2.0, -2.0, 0.0], [one, one, two, two]).numbers()
    assert (numbers["bias"], numbers["deviation"]) == (0.0, 1.0)
    assert numbers["mean_correlation"] == 1.0 and numbers["correlation"] == 0.707
    # the same credit for other decisions: all of it is bias
    other = [("t", "s", n) for n in range(4)]
    numbers = drawn([1.0, 1.0, -1.0, -1.0], [0.0, 2.0, -2.0, 0.0], other).numbers()
    assert (numbers["bias"], numbers["deviation"]) == (1.0, 0.0)


def test_credit_that_points_the_other_way_has_no_scale():
    numbers = plain(drawn([1.0, -1.0], [-1.0, 1.0], [("t", "s", 0), ("t", "s", 1)]).numbers())
    assert numbers["correlation"] == -1.0 and numbers["bias"] is None


def test_kinds_are_counted_apart():
    found = drawn(
        [0.5, -0.5, 0.0], [2.0, 1.0, 2.0], [("t", "s", n) for n in range(3)],
        ["final answer", "final answer", "error"],
    ).by_kind()
    assert found["final answer"]["sign"] == 0.5
    assert found["final answer"]["credit"] == pytest.approx(1.5 / np.sqrt(3), abs=1e-3)
    assert found["error"]["credit"] == pytest.approx(2 / np.sqrt(3), abs=1e-3)


def test_chances_chain_from_step_to_step_and_end_in_the_outcome(pool):
    for group, before, after in zip(pool.groups, pool.before, pool.after, strict=True):
        starts = {before_S[0] for before_S in before}
        assert len(starts) == 1, "all attempts at a task start in one state"
        for attempt, before_S, after_S in zip(group.attempts, before, after, strict=True):
            np.testing.assert_array_equal(before_S[1:], after_S[:-1])
            assert after_S[-1] == float(attempt.outcome == "match")


def test_the_share_of_right_answers_is_the_chance_at_the_start(made, pool):
    collector, network, tree, tasks = made
    continuations = MenuContinuations(tree, network)
    for group, before in zip(pool.groups, pool.before, strict=True):
        many = [collector.collect(network, [group.task_id], 50, seed) for seed in range(6)]
        attempts = [attempt for (found,) in many for attempt in found.attempts]
        share = np.mean([attempt.outcome == "match" for attempt in attempts])
        (right,) = continuations.successes([(group.task_id, ())], 300, seed=5)
        assert 0.05 < share < 0.95, "a chance that could be told from 0 and 1"
        # three standard errors: of 300 attempts and 300 rollouts, and of the 24 rollouts
        assert right / 300 == pytest.approx(share, abs=3 * np.sqrt(2 * 0.25 / 300))
        assert before[0][0] == pytest.approx(share, abs=3 * np.sqrt(0.25 / 24 + 0.25 / 300))


def test_the_chance_before_a_step_is_the_share_of_attempts_that_go_on_from_there(made, pool):
    collector, network, tree, tasks = made
    group = pool.groups[0]
    number = max(range(len(group.attempts)), key=lambda n: len(group.attempts[n].steps))
    last = group.attempts[number].steps[:-1]
    actions = tuple(step.completion.token_ids[0] for step in last)
    node = tree.node(group.task_id, actions)
    chance = network.choose(
        node.features_AF[None], np.array([node.right]), None, np.array([node.right])
    )
    # before the last turn that is left, success is the right submission and nothing else
    assert len(actions) == SMALL.max_turns - 1, "an attempt that used all of its turns"
    expected = float(np.exp(chance.logprob_N[0]))
    (right,) = MenuContinuations(tree, network).successes([(group.task_id, actions)], 400, seed=6)
    assert right / 400 == pytest.approx(expected, abs=3 * np.sqrt(0.25 / 400))


def test_every_step_has_a_kind_and_a_submission_is_the_final_answer(pool):
    for group, kinds in zip(pool.groups, pool.kinds, strict=True):
        for attempt, row in zip(group.attempts, kinds, strict=True):
            assert len(row) == len(attempt.steps)
            submitted = [step.tool == "submit" for step in attempt.steps]
            assert [kind == "final answer" for kind in row] == submitted


def test_a_part_of_a_group_is_credited_as_that_group(pool):
    group = pool.groups[0]
    some = replace(group, attempts=tuple(group.attempts[i] for i in (3, 1, 6)))
    one = assign(ESTIMATORS["gigpo"](), [some.signals()])
    other = assign(ESTIMATORS["gigpo"](), [part_of(group.signals(), [3, 1, 6])])
    for a, b in zip(one[0][0].advantages_GS, other[0][0].advantages_GS, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_measurement_has_numbers_for_every_estimator_and_makes_a_page():
    seeds = [fidelity.measure(replace(SMALL, seed=seed)) for seed in (0, 1)]
    results = json.loads(json.dumps(merged([plain(found) for found in seeds]), allow_nan=False))
    assert set(ESTIMATORS) <= set(results["estimators"])
    exact = results["estimators"]["pav, exact signals"]["sizes"]["8"]["correlation"]
    assert len(exact) == 2 and exact[0] != exact[1], "seeds measure something else"
    assert mean(exact) > mean(results["estimators"]["grpo"]["sizes"]["8"]["correlation"])
    cost = results["estimators"]["pav"]["cost"]
    assert min(cost["choices"]) > 0 and min(cost["turns"]) > 0
    text = page(results)
    assert all(f"| {name} |" in text for name in ESTIMATORS)
    assert "done 2 times" in text and plot(results).count("<polyline") == 11


def test_measurements_are_merged_number_by_number():
    one = {"settings": {"seed": 0}, "a": 1.0, "b": {"x": 2.0}, "c": {"z": 4.0}, "machine": "m"}
    two = {"settings": {"seed": 1}, "a": None, "b": {"y": 3.0}, "machine": "m"}
    assert merged([one, two]) == {
        "settings": {"seed": 0}, "a": [1.0, None], "b": {"x": [2.0, None], "y": [None, 3.0]},
        "c": {"z": [4.0, None]}, "machine": "m",
    }


def test_an_interval_holds_the_mean_and_has_no_width_where_all_agree():
    low, high = interval([0.1, 0.2, 0.6])
    assert 0.1 <= low < mean([0.1, 0.2, 0.6]) < high <= 0.6
    assert merged([{"a": None}, {"a": None}]) == {"a": [None, None]}
    assert interval([0.25, 0.25]) == (0.25, 0.25)
    assert np.isnan(mean([0.25, None]))


def test_the_page_in_docs_is_that_of_the_stored_results():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert len(results["seconds"]) >= 5
    assert (DOCS / "credit_fidelity.md").read_text(encoding="utf-8") == page(results)
    assert (DOCS / "credit_fidelity.svg").read_text(encoding="utf-8") == plot(results)

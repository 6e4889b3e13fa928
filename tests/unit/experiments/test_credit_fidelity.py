"""Credit against true advantages: the numbers by hand, and a small measurement from end to end."""

import json
from dataclasses import replace

import numpy as np
import pytest

from agents.credit import ESTIMATORS, assign
from experiments import credit_fidelity as fidelity
from agents.learned.tree import MenuTree
from agents.menu_rollout import MenuCollector
from experiments.credit_fidelity import RESULTS, Drawn, part_of, plain
from experiments.credit_fidelity_page import DOCS, page, plot
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
def pool():
    tasks, make_env = environments(SMALL)
    collector = MenuCollector(make_env)
    network = warm_start(collector, tasks, SMALL)
    tree = MenuTree(make_env())
    yield truth(collector, network, tree, tasks, SMALL)
    tree.close()
    collector.close()


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


def test_the_share_of_right_answers_is_the_chance_at_the_start(pool):
    for group, before in zip(pool.groups, pool.before, strict=True):
        share = np.mean([attempt.outcome == "match" for attempt in group.attempts])
        assert share == pytest.approx(before[0][0], abs=0.55)


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
    results = json.loads(json.dumps(plain(fidelity.measure(SMALL)), allow_nan=False))
    assert set(ESTIMATORS) <= set(results["estimators"])
    exact = results["estimators"]["pav, exact signals"]["sizes"]["8"]
    assert exact["correlation"] > results["estimators"]["grpo"]["sizes"]["8"]["correlation"]
    cost = results["estimators"]["pav"]["cost"]
    assert cost["choices"] > 0 and cost["turns"] > 0
    text = page(results)
    assert all(f"| {name} |" in text for name in ESTIMATORS)
    assert plot(results).count("<polyline") == 11


def test_the_page_in_docs_is_that_of_the_stored_results():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert (DOCS / "credit_fidelity.md").read_text(encoding="utf-8") == page(results)
    assert (DOCS / "credit_fidelity.svg").read_text(encoding="utf-8") == plot(results)

"""The problems with known answers: their answers by hand, and what credit makes of them."""

import numpy as np
import pytest

from agents.credit import ESTIMATORS, Track, signals
from experiments.credit_accuracy import accuracy, total
from experiments.decision_problems import Attempt, Move, Probe, exact_signals, group_of, walk
from experiments.probes import PAGE, PROBES, best, judge, learn, page, sample

UNIFORM = {name: probe.uniform() for name, probe in PROBES.items()}

# advantages under the uniform policy, worked out by hand
BY_HAND = {
    "delayed reward": {("choice", "right"): 0.5, ("choice", "wrong"): -0.5, ("r1", "run"): 0.0},
    "distractor": {("first", "look"): 0.0, ("answer", "right"): 0.5, ("answer", "wrong"): -0.5},
    # sure is worth (1 + 1/2) / 2 = 3/4, error 3/8, answer 1/2, query 7/16
    "recovery": {
        ("query", "good"): 1 / 16,
        ("query", "slip"): -1 / 16,
        ("error", "repair"): 3 / 8,
        ("error", "give up"): -3 / 8,
        ("sure", "wrong"): -1 / 4,
    },
    "two routes": {("fork", "short"): 0.0, ("fork", "long"): 0.0, ("answer", "right"): 0.5},
    # room a is worth 3/4, room b 1/4, the hall 1/2
    "aliasing": {
        ("hall", "left"): 1 / 4,
        ("hall", "right"): -1 / 4,
        ("room a", "push"): 1 / 4,
        ("room b", "push"): -1 / 4,
        ("room b", "pull"): 1 / 4,
    },
    # knowing is worth 1/2, guessing 1/8, the question 5/16
    "needed look": {("question", "look"): 3 / 16, ("question", "skip"): -3 / 16},
    "bait": {("start", "plain"): 1 / 4, ("start", "bait"): -1 / 4, ("trap", "right"): 0.0},
}


@pytest.mark.parametrize("name", PROBES)
def test_the_right_credit_is_the_one_worked_out_by_hand(name):
    for visit, expected in BY_HAND[name].items():
        assert PROBES[name].advantage(visit, UNIFORM[name]) == pytest.approx(expected)


@pytest.mark.parametrize("name", PROBES)
class TestEveryProbe:
    def test_the_advantages_of_a_state_average_to_zero_under_the_policy(self, name):
        probe = PROBES[name]
        for state, moves in probe.states.items():
            chances = UNIFORM[name][probe.seen(state)]
            mean = sum(chances[m] * probe.advantage((state, m), UNIFORM[name]) for m in moves)
            assert mean == pytest.approx(0.0)

    def test_the_value_of_the_start_is_the_share_of_walks_that_succeed(self, name):
        draws = np.random.default_rng(0)
        walks = [walk(PROBES[name], UNIFORM[name], draws) for _ in range(2000)]
        found = np.mean([attempt.success for attempt in walks])
        steps = np.mean([len(attempt.visits) for attempt in walks])
        start = PROBES[name].start
        assert found == pytest.approx(PROBES[name].value(start, UNIFORM[name]), abs=0.05)
        assert steps == pytest.approx(PROBES[name].length(start, UNIFORM[name]), abs=0.15)

    def test_the_contributions_of_a_walk_sum_to_its_outcome(self, name):
        draws = np.random.default_rng(1)
        for _ in range(50):
            attempt = walk(PROBES[name], UNIFORM[name], draws)
            exact = exact_signals(PROBES[name], attempt, UNIFORM[name])
            assert exact["progress"].sum() == pytest.approx(attempt.success)
            assert (exact["step_score"] >= 0).all() and (exact["step_score"] <= 1).all()

    def test_a_critic_that_is_exact_makes_one_step_credit_the_right_one(self, name):
        # without luck at the end, the surprise of each step is its advantage
        attempts = [
            attempt
            for attempt in sample(
                PROBES[name], UNIFORM[name], 20, np.random.default_rng(2)
            ).groups[0]
            if PROBES[name].q(attempt.visits[-1], UNIFORM[name]) in (0.0, 1.0)
        ]
        group = group_of(PROBES[name], attempts, UNIFORM[name])
        (track,) = ESTIMATORS["gae"](lam=0.0, whiten=False)(group)
        for attempt, credit_S in zip(attempts, track.advantages_GS, strict=True):
            right = [PROBES[name].advantage(visit, UNIFORM[name]) for visit in attempt.visits]
            np.testing.assert_allclose(credit_S, right, atol=1e-12)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_credits_the_deciding_step_rightly_and_learns_it(name):
    probe = PROBES["delayed reward"]
    seen = sample(probe, probe.uniform(), 40, np.random.default_rng(3))
    verdict = judge(ESTIMATORS[name](), seen, updates=25, seeds=1)
    right, wrong = (verdict.by_visit["choice", move] for move in ("right", "wrong"))
    assert right >= 0 >= wrong and right > wrong
    if name != "pass_at_k":  # where success is common the best place is shared: no credit
        assert verdict.learned > 0.8, "uniform succeeds in half of the attempts"


@pytest.mark.parametrize("name", ESTIMATORS)
def test_credit_of_the_opposite_sign_unlearns_the_task(name):
    estimator = ESTIMATORS[name]()

    def opposite(group):
        return tuple(
            Track(tuple(-steps_S for steps_S in t.advantages_GS), t.mask_GS, t.weight)
            for t in estimator(group)
        )

    probe = PROBES["delayed reward"]
    assert probe.value(probe.start, learn(probe, opposite, updates=10, seed=0)) < 0.5


def test_only_estimators_that_look_at_steps_tell_the_distractor_from_the_answer():
    probe = PROBES["distractor"]
    seen = sample(probe, probe.uniform(), 60, np.random.default_rng(4))
    leaks = {
        name: judge(ESTIMATORS[name](), seen, updates=0, seeds=1).accuracy.leak
        for name in ("grpo", "gae", "pav", "igpo")
    }
    assert leaks["grpo"] > 0.95, "flat credit pays a look as much as the answer"
    assert leaks["pav"] < leaks["grpo"]


def test_anchors_that_look_alike_but_are_not_mislead_gigpo():
    probe = PROBES["aliasing"]
    seen = sample(probe, probe.uniform(), 100, np.random.default_rng(5))
    verdict = judge(ESTIMATORS["gigpo"](), seen, updates=0, seeds=1)
    told_apart = Probe(probe.story, probe.lesson, probe.states)
    clear = sample(told_apart, told_apart.uniform(), 100, np.random.default_rng(5))
    apart = judge(ESTIMATORS["gigpo"](omega=1.0), clear, updates=0, seeds=1)
    # pulling in room b is better than the mean of that room, but not than that of both rooms
    assert probe.advantage(("room b", "pull"), probe.uniform()) == 1 / 4
    assert verdict.by_visit["room b", "pull"] < 0.1 < apart.by_visit["room b", "pull"]
    assert apart.accuracy.correlation > verdict.accuracy.correlation


def test_the_best_policy_tells_states_apart():
    assert {name: best(probe) for name, probe in PROBES.items()} == dict.fromkeys(PROBES, 1.0)


def test_accuracy_by_hand():
    found = accuracy(np.array([1.0, -1.0, 0.0, 0.0]), np.array([3.0, 0.0, 4.0, 0.0]))
    assert found.sign == 0.5
    assert found.leak == pytest.approx(np.sqrt(8) / np.sqrt(25 / 4))
    assert found.correlation == pytest.approx(3 / np.sqrt(2) / np.sqrt(25 - 49 / 4))
    nothing = accuracy(np.array([1.0, -1.0]), np.zeros(2))
    assert (nothing.correlation, nothing.sign) == (0.0, 0.0) and np.isnan(nothing.leak)


def test_tracks_are_summed_with_their_masks_and_weights():
    on = (np.array([True, False]),)
    both = (Track((np.array([1.0, 2.0]),), on, 0.5), Track((np.array([10.0, 10.0]),)))
    assert total(both)[0].tolist() == [10.5, 10.0]


@pytest.mark.parametrize(
    ("states", "looks", "message"),
    [
        ({"a": {"go": Move("b")}}, {}, "leads to 'b'"),
        ({"a": {"go": Move("b")}, "b": {"stop": Move()}}, {"b": "a"}, "other moves"),
    ],
)
def test_a_problem_that_is_none_is_refused(states, looks, message):
    with pytest.raises(ValueError, match=message):
        Probe("", "", states, looks)


def test_the_page_has_every_estimator_on_every_problem():
    verdicts = {}
    for name, probe in PROBES.items():
        seen = sample(probe, probe.uniform(), 2, np.random.default_rng(0))
        verdicts[name] = {e: judge(build(), seen, 0, 1) for e, build in ESTIMATORS.items()}
    text = page(verdicts, "command", "setting")
    for name in PROBES:
        section = text.split(f"## {name.capitalize()}\n")[1].split("\n## ")[0]
        assert all(f"| {estimator} |" in section for estimator in ESTIMATORS)


def cells_of(section, name):
    """The numbers of an estimator's row in a section of the page; "" is none."""
    line = next(line for line in section.splitlines() if line.startswith(f"| {name} |"))
    return [float(cell) if cell else np.nan for cell in map(str.strip, line.split("|")[2:-1])]


@pytest.mark.parametrize("name", PROBES)
def test_the_page_in_docs_has_the_credit_that_is_given_today(name):
    written = PAGE.read_text(encoding="utf-8").split(f"## {name.capitalize()}\n")[1]
    seen = sample(PROBES[name], UNIFORM[name], 200, np.random.default_rng(0))
    for estimator, build in ESTIMATORS.items():
        fresh = judge(build(), seen, updates=0, seeds=1)
        accuracy, *means = fresh.accuracy, *fresh.by_visit.values()
        expected = [accuracy.correlation, accuracy.sign, accuracy.leak, *means]
        found = cells_of(written.split("\n## ")[0], estimator)
        np.testing.assert_allclose(found[:3] + found[5:], expected, atol=0.006, err_msg=estimator)


@pytest.mark.parametrize(("name", "estimator"), [("recovery", "finestep"), ("bait", "mt_grpo")])
def test_the_page_in_docs_has_what_is_learned_today(name, estimator):
    probe = PROBES[name]
    written = PAGE.read_text(encoding="utf-8").split(f"## {name.capitalize()}\n")[1]
    ends = [learn(probe, ESTIMATORS[estimator](), updates=80, seed=seed) for seed in range(3)]
    learned = np.mean([probe.value(probe.start, policy) for policy in ends])
    steps = np.mean([probe.length(probe.start, policy) for policy in ends])
    np.testing.assert_allclose(cells_of(written, estimator)[3:5], [learned, steps], atol=0.006)


def test_the_success_of_an_attempt_is_its_outcome():
    probe = PROBES["bait"]
    attempts = [Attempt((("start", "plain"), ("answer", "right")), 1.0)]
    group = group_of(probe, attempts, probe.uniform())
    assert group.outcome_G.tolist() == signals([1], [[0, 0]]).outcome_G.tolist()
    assert group.process_GS[0].tolist() == [0.0, 0.0]

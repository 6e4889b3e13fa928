"""Learned signals against problems whose values are known in closed form."""

from dataclasses import replace

import numpy as np
import pytest

from agents.credit import ESTIMATORS, assign, signals
from agents.learned import (
    LEARNED,
    Critic,
    Example,
    Fitting,
    LearnedSignals,
    ProcessRewardModel,
    ProgressEstimator,
    Prover,
    StepFeatures,
    labelled,
    monte_carlo,
)
from agents.learned.process_reward import weighted
from experiments.credit_accuracy import accuracy
from experiments.decision_problems import group_of, walk
from experiments.probes import PROBES, Sample, sample

QUICK = Fitting(hidden=32, steps=150, learning_rate=1e-2)


def features(probe, attempt):
    """A one in the place of the state, and of the move taken in it."""
    states, visits = list(probe.states), probe.visits
    before_SF = np.eye(len(states), dtype=np.float32)[[states.index(s) for s, _ in attempt.visits]]
    step_SD = np.eye(len(visits), dtype=np.float32)[[visits.index(v) for v in attempt.visits]]
    return StepFeatures(before_SF, step_SD)


def examples_of(seen):
    """The groups of a sample as a model sees them: without the exact signals."""
    return [
        Example(
            replace(group_of(seen.probe, group, seen.policy), learned_GS={}),
            tuple(features(seen.probe, attempt) for attempt in group),
            tuple(tuple(state for state, _ in attempt.visits) for attempt in group),
        )
        for group in seen.groups
    ]


class Walks:
    """`Continuations` of a problem: walk on from a state."""

    def __init__(self, probe, policy):
        self._probe, self._policy = probe, policy
        self.asked = []

    def successes(self, states, attempts, seed):
        self.asked.append(tuple(states))
        draws = np.random.default_rng(seed)
        return [sum(self._from(state, draws) for _ in range(attempts)) for state in states]

    def _from(self, state, draws):
        rest = {s: moves for s, moves in self._probe.states.items() if s != state}
        begun = {state: self._probe.states[state], **rest}
        return int(walk(replace(self._probe, states=begun), self._policy, draws).success)


@pytest.fixture(scope="module")
def seen():
    probe = PROBES["recovery"]
    return sample(probe, probe.uniform(), 40, np.random.default_rng(0))


@pytest.fixture(scope="module")
def examples(seen):
    return examples_of(seen)


def exact(seen, of):
    return np.array([of(visit) for visit in seen.visits_N])


def flat(model, examples, name):
    return np.concatenate([s for given in model.signals(examples) for s in given[name]])


def test_a_critic_learns_the_value_of_every_state(seen, examples):
    critic = Critic(QUICK, clip=10.0)
    assert not flat(critic, examples, "values").any(), "it says 0 before it has learned"
    critic.fit(examples)
    right = exact(seen, lambda visit: seen.probe.value(visit[0], seen.policy))
    np.testing.assert_allclose(flat(critic, examples, "values"), right, atol=0.1)


def test_a_critic_learns_discounted_returns_with_process_rewards(seen, examples):
    # the last step of every attempt is where return and reward are the same
    critic = Critic(QUICK, clip=10.0, gamma=0.0, process_weight=1.0)
    critic.fit(examples)
    # under gamma 0 the value of "error" is the mean of its process rewards 1 and 0
    values_N = flat(critic, examples, "values")
    in_error = exact(seen, lambda visit: visit[0] == "error")
    assert values_N[in_error].mean() == pytest.approx(0.5, abs=0.1)


def test_a_critic_moves_no_further_than_its_clip_in_one_fit(examples):
    bounded, free = Critic(QUICK, clip=0.05), Critic(QUICK, clip=10.0)
    for critic in (bounded, free):
        critic.fit(examples)
    assert flat(bounded, examples, "values").max() < 0.5 * flat(free, examples, "values").max()


def test_td_targets_need_several_fits_where_returns_need_one(seen, examples):
    right = exact(seen, lambda visit: seen.probe.value(visit[0], seen.policy))
    critic = Critic(QUICK, clip=10.0, lam=0.0)
    errors = []
    for _ in range(4):
        critic.fit(examples)
        errors.append(np.abs(flat(critic, examples, "values") - right).max())
    assert errors[-1] < 0.1 < errors[0]


def test_contributions_sum_to_the_outcome_and_tell_deciding_steps_from_idle_ones():
    probe = PROBES["delayed reward"]
    seen = sample(probe, probe.uniform(), 40, np.random.default_rng(1))
    examples = examples_of(seen)
    model = ProgressEstimator(QUICK)
    loss = model.fit(examples)["progress_loss"]
    assert loss < 1e-3
    for example, given in zip(examples, model.signals(examples), strict=True):
        sums_G = [progress_S.sum() for progress_S in given["progress"]]
        np.testing.assert_allclose(sums_G, example.signals.outcome_G, atol=0.1)


def test_what_every_attempt_has_contributes_what_attempts_share():
    # two moves "a" and "b": outcome 1 with "a", 0 with "b"; "idle" is in all of them
    a, b, idle = np.eye(3, dtype=np.float32)
    rows = [np.stack([a, idle]), np.stack([b, idle]), np.stack([idle, a]), np.stack([idle, b])]
    group = signals([1, 0, 1, 0], [[0, 0]] * 4)
    example = Example(group, tuple(StepFeatures(row, row) for row in rows))
    model = ProgressEstimator(replace(QUICK, steps=300))
    model.fit([example])
    (given,) = model.signals([example])
    first, second, third, _ = given["progress"]
    assert first[0] - second[0] == pytest.approx(1.0, abs=0.05)
    assert first[1] == pytest.approx(third[0], abs=1e-6), "the same step, the same share"


def test_a_process_reward_model_learns_the_chance_of_success_after_a_step(seen, examples):
    walks = Walks(seen.probe, seen.policy)
    ready = labelled(examples[:10], walks, attempts=60, seed=0)
    model = ProcessRewardModel(QUICK, entropy_weight=False)
    model.fit(ready)
    right = exact(seen, lambda visit: seen.probe.q(visit, seen.policy))
    # "sure: wrong" ends by a coin, so its label is what came out
    certain = exact(seen, lambda visit: visit != ("sure", "wrong"))
    chance_N = flat(model, examples, "step_score")
    np.testing.assert_allclose(chance_N[certain], right[certain], atol=0.12)
    assert accuracy(right, chance_N).correlation > 0.95


def test_a_process_reward_model_refuses_steps_without_labels(examples):
    with pytest.raises(ValueError, match="labels_GS"):
        ProcessRewardModel().fit(examples)


def test_the_entropy_weight_leaves_certain_scores_and_shrinks_open_ones():
    score = weighted(np.array([0.0, 1.0, 0.5]))
    np.testing.assert_allclose(score, [0.0, 1.0, 0.5 / (1 + np.log(2))], atol=1e-9)
    model = ProcessRewardModel()
    one = np.eye(1, dtype=np.float32)
    (given,) = model.signals([Example(signals([1], [[0]]), (StepFeatures(one, one),))])
    assert given["step_score"][0][0] == pytest.approx(0.5 / (1 + np.log(2)))


def test_rollouts_estimate_the_best_of_k_before_and_after_every_step(seen, examples):
    walks = Walks(seen.probe, seen.policy)
    found = monte_carlo(examples[0], walks, attempts=400, best_of=2, seed=3)
    asked = walks.asked[0]
    assert len(asked) == len(set(asked)), "equal states share their rollouts"
    assert found.rollouts == 400 * len(asked)
    for attempt, before_S, after_S in zip(
        seen.groups[0], found.before_GS, found.after_GS, strict=True
    ):
        chance_S = np.array([seen.probe.value(s, seen.policy) for s, _ in attempt.visits])
        np.testing.assert_allclose(before_S, 1 - (1 - chance_S) ** 2, atol=0.08)
        np.testing.assert_array_equal(after_S[:-1], before_S[1:])
        assert after_S[-1] == attempt.success


@pytest.mark.parametrize(
    ("options", "message"),
    [({"best_of": 5}, "attempts >= best_of"), ({"best_of": 0}, "attempts >= best_of")],
)
def test_a_prover_that_needs_more_attempts_than_there_are_is_refused(examples, options, message):
    with pytest.raises(ValueError, match=message):
        monte_carlo(examples[0], None, attempts=4, seed=0, **options)


def test_rollouts_without_states_to_start_from_are_refused(examples):
    with pytest.raises(ValueError, match="restore_GS"):
        monte_carlo(replace(examples[0], restore_GS=()), None, attempts=4, best_of=1, seed=0)


def test_an_example_whose_features_have_other_lengths_is_refused(examples):
    with pytest.raises(ValueError, match="features: expected attempts of"):
        Example(examples[0].signals, examples[0].features_G[::-1][:1])
    one = np.zeros((1, 2), dtype=np.float32)
    with pytest.raises(ValueError, match="1 states, but 2 steps"):
        StepFeatures(one, np.zeros((2, 2), dtype=np.float32))
    with pytest.raises(ValueError, match="finite"):
        StepFeatures(one, one * np.nan)


def test_features_of_another_width_are_refused(examples):
    critic = Critic(QUICK)
    critic.fit(examples)
    other = Example(signals([1], [[0]]), (StepFeatures(*2 * [np.zeros((1, 9), np.float32)]),))
    with pytest.raises(ValueError, match="expected features of 4 numbers, got 9"):
        critic.signals([other])


# estimators whose needs a model gives, and the correlation with the truth they reach by it
USERS = [name for name in ESTIMATORS if set(ESTIMATORS[name].needs) & set(LEARNED)]


@pytest.mark.parametrize("name", [*USERS, "spa_critic"])
class TestEveryEstimatorThatNeedsAModel:
    def make(self, name, seen):
        estimator = (
            ESTIMATORS["spa"](baseline="critic") if name == "spa_critic" else ESTIMATORS[name]()
        )
        walks = Walks(seen.probe, seen.policy)
        return estimator, LearnedSignals.for_estimator(estimator, walks, QUICK)

    def given(self, examples):
        """With the signals that are no model's: here, every call could be executed."""
        return [
            replace(
                e,
                signals=replace(
                    e.signals,
                    learned_GS={"grounding": tuple(np.ones(n) for n in e.signals.steps_G)},
                ),
            )
            for e in examples
        ]

    def test_its_signals_are_learned_and_its_credit_is_better_than_chance(
        self, name, seen, examples
    ):
        estimator, learned = self.make(name, seen)
        for _ in range(3):
            groups, metrics = learned(self.given(examples))
        assert metrics
        credit_N = np.concatenate(
            [s for credit in assign(estimator, groups) for s in credit[0].advantages_GS]
        )
        right = exact(seen, lambda visit: seen.probe.advantage(visit, seen.policy))
        assert accuracy(right, credit_N).correlation > 0.5

    def test_a_stored_state_goes_on_as_the_original(self, name, seen, examples):
        _, learned = self.make(name, seen)
        _, copy = self.make(name, seen)
        some = self.given(examples)[:6]
        learned(some)
        copy.load_state_dict(learned.state_dict())
        for _ in range(2):
            one, logged = learned(some)
            other, logged_too = copy(some)
            assert logged == logged_too
            for a, b in zip(one, other, strict=True):
                for key in a.learned_GS:
                    for x, y in zip(a.learned_GS[key], b.learned_GS[key], strict=True):
                        np.testing.assert_array_equal(x, y)


def test_models_are_asked_before_they_learn_from_a_batch(seen, examples):
    learned = LearnedSignals([Critic(QUICK, clip=10.0)])
    learned(examples[:4])
    before = learned.models[0].signals(examples)
    groups, _ = learned(examples)
    after = learned.models[0].signals(examples)
    for group, old, new in zip(groups, before, after, strict=True):
        np.testing.assert_array_equal(group.learned("values")[0], old["values"][0])
        assert (old["values"][0] != new["values"][0]).any()


def test_labels_are_made_for_a_few_groups_of_a_batch_in_turn(seen, examples):
    walks = Walks(seen.probe, seen.policy)
    learned = LearnedSignals(
        [ProcessRewardModel(QUICK)], walks, label_attempts=4, label_groups=2
    )
    counted = []
    for batch in range(3):
        counted.append(learned(examples[:5])[1]["label_rollouts"])
        assert len(walks.asked) == 2 * (batch + 1)
    assert counted == [4 * sum(map(len, walks.asked[: 2 * n])) for n in (1, 2, 3)]
    starts = [frozenset(asked) for asked in walks.asked]
    wanted = [frozenset(s for row in e.restore_GS for s in row) for e in examples[:5]]
    assert starts == [wanted[place] for place in (0, 1, 2, 3, 4, 0)]


def test_an_estimator_that_needs_rollouts_says_so_when_there_are_none():
    with pytest.raises(ValueError, match="Pav needs rollouts"):
        LearnedSignals.for_estimator(ESTIMATORS["pav"]())
    assert LearnedSignals.for_estimator(ESTIMATORS["grpo"]()).models == ()


def test_the_provers_rollouts_are_counted(seen, examples):
    prover = Prover(Walks(seen.probe, seen.policy), attempts=4, best_of=2)
    prover.signals(examples[:2])
    states = [set(s for row in e.restore_GS for s in row) for e in examples[:2]]
    assert prover.fit([])["prover_rollouts"] == 4 * sum(map(len, states))
    assert isinstance(seen, Sample)

"""The network over menus, its rollouts and its trainer, on real menus of a toy database."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from flipped import Flipped
from menu_shop import shop_menu, shop_tasks

from agents.credit import ESTIMATORS, assign
from agents.losses import Objective
from agents.menu_rollout import SIGNALS, MenuCollector, MenuStep
from agents.menu_trainer import MenuTrainer, imitate, tensors
from agents.metrics import rollout_metrics
from agents.policies.menu import MenuAnalyst, MenuNetwork
from agents.trainer import Optimization
from agents.types import Ended
from text2sql_gym.wrappers.menu import FEATURES, Feature, Kind

TASKS = ["looked_up", "counted", "joined"]
CLOSED_FORM = [name for name in ESTIMATORS if set(ESTIMATORS[name].needs) <= SIGNALS]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return shop_tasks(tmp_path_factory.mktemp("menu_policy"))


@pytest.fixture(scope="module")
def collector(tasks):
    made = MenuCollector(lambda: shop_menu(tasks, proposals=2), schema_mode="f1")
    yield made
    made.close()


@pytest.fixture(scope="module")
def network():
    """Random weights with opinions of some strength."""
    made = MenuNetwork(hidden=16, seed=1)
    with torch.no_grad():
        made.score.weight.mul_(30.0)
    return made


@pytest.fixture(scope="module")
def groups(collector, network):
    return collector.collect(network, TASKS, 6, seed=0)


def steps_of(groups):
    return [step for group in groups for attempt in group.attempts for step in attempt.steps]


def choices(groups):
    return [
        [step.completion.token_ids[0] for step in attempt.steps]
        for group in groups
        for attempt in group.attempts
    ]


class TestNetwork:
    def test_what_cannot_be_taken_has_no_probability_and_the_rest_sums_to_one(
        self, network, groups
    ):
        features_NAF, _ = tensors(steps_of(groups))
        chance_NA = network(features_NAF).exp()
        available_NA = features_NAF[..., Feature.AVAILABLE] > 0
        assert not available_NA.all()
        assert (chance_NA[~available_NA] == 0).all() and (chance_NA[available_NA] > 0).all()
        torch.testing.assert_close(chance_NA.sum(dim=1), torch.ones(len(chance_NA)))

    def test_the_place_of_an_action_means_nothing(self, network, groups):
        features_NAF, _ = tensors(steps_of(groups)[:4])
        order = torch.randperm(features_NAF.shape[1], generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(network(features_NAF[:, order]), network(features_NAF)[:, order])

    def test_the_seed_makes_the_weights_and_leaves_the_generator_alone(self):
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        one, same, other = MenuNetwork(seed=3), MenuNetwork(seed=3), MenuNetwork(seed=4)
        assert torch.rand(1) == expected
        assert torch.equal(one.score.weight, same.score.weight)
        assert not torch.equal(one.score.weight, other.score.weight)

    def test_choices_follow_the_number_drawn(self, network, groups):
        features_AF = steps_of(groups)[0].features_AF
        with torch.no_grad():
            chance_A = network(torch.from_numpy(features_AF)[None])[0].exp().double().numpy()
        ends_A = np.cumsum(chance_A)

        def choose(number, forced=-1):
            drawn = None if number is None else np.array([number])
            return network.choose(features_AF[None], np.array([-1]), drawn, np.array([forced]))

        for action in np.flatnonzero(chance_A > 1e-4):
            got = choose(ends_A[action] - chance_A[action] / 2)
            assert got.action_N == [action]
            assert got.logprob_N == pytest.approx(np.log(chance_A[action]), abs=1e-5)
        for edge in (0.0, 1.0 - 1e-16):
            assert chance_A[choose(edge).action_N[0]] > 0
        assert choose(None).action_N == [chance_A.argmax()]
        forced = choose(None, forced=2)
        assert forced.action_N == [2]
        assert forced.logprob_N == pytest.approx(np.log(chance_A[2]), abs=1e-5)


class TestRollout:
    def test_what_was_recorded_is_what_the_network_says(self, network, groups):
        steps = steps_of(groups)
        features_NAF, action_N = tensors(steps)
        logprobs_N = network(features_NAF).gather(1, action_N[:, None])[:, 0].detach().numpy()
        recorded_N = [step.completion.logprobs[0] for step in steps]
        np.testing.assert_allclose(recorded_N, logprobs_N, atol=1e-5)

    def test_draws_depend_on_the_seed_and_the_number_of_the_attempt_alone(
        self, collector, network, groups
    ):
        assert choices(collector.collect(network, TASKS, 6, seed=0)) == choices(groups)
        assert choices(collector.collect(network, TASKS[:1], 6, seed=0)) == choices(groups[:1])
        assert choices(collector.collect(network, TASKS, 6, seed=1)) != choices(groups)

    def test_attempts_end_as_the_environment_says(self, groups):
        attempts = [attempt for group in groups for attempt in group.attempts]
        assert {attempt.ended for attempt in attempts} == {Ended.SUBMITTED, Ended.STEP_LIMIT}
        for attempt in attempts:
            submitted = attempt.steps[-1].tool == "submit"
            assert (attempt.ended is Ended.SUBMITTED) == submitted
            assert submitted or len(attempt.steps) == 7
            assert attempt.outcome_reward == float(attempt.outcome == "match")

    def test_greedy_attempts_are_all_the_same(self, collector, network):
        same = choices(collector.collect(network, ["counted"], 3, seed=0, sampled=False))
        assert same[0] == same[1] == same[2]

    def test_states_are_those_in_which_the_turn_was_taken(self, groups):
        for group in groups:
            first = {attempt.steps[0].state_key for attempt in group.attempts}
            assert len(first) == 1
        signals = groups[0].signals()
        assert [len(s) for s in signals.states_GS] == list(signals.steps_G)

    def test_gains_of_information_sum_to_the_change_of_the_chance(self, network, groups):
        for group in groups:
            for attempt in group.attempts:
                gains = [step.signals["information_gain"] for step in attempt.steps]
                assert gains[-1] == 0.0
                chances = [self.chance(network, step, attempt) for step in attempt.steps]
                np.testing.assert_allclose(gains[:-1], np.diff(chances), atol=1e-6)

    def chance(self, network, step, attempt):
        """Probability of the right submission among all submissions, from what is public."""
        right = {"looked_up": "Vienna-55", "counted": "Paris-37", "joined": "Vienna-55"}
        with shop_menu(self.tasks, proposals=2) as env:
            env.reset(options={"task_id": attempt.task_id})
            rows = {
                a: item.lookup for a, item in enumerate(env.menu.items)
                if item is not None and item.kind is Kind.SUBMIT
            }
        with torch.no_grad():
            chance_A = network(torch.from_numpy(step.features_AF)[None])[0].exp().double()
        answers = {a: float(chance_A[a]) for a in rows}
        wanted = (right[attempt.task_id], "town")
        good = [a for a, lookup in rows.items() if (lookup.value, lookup.column) == wanted]
        return answers[good[0]] / sum(answers.values())

    @pytest.fixture(autouse=True)
    def _keep(self, tasks):
        self.tasks = tasks

    def test_schema_signals_are_those_of_the_last_proposal(self, groups):
        met = 0
        for attempt in [attempt for group in groups for attempt in group.attempts]:
            rewards = [step.signals["schema_reward"] for step in attempt.steps]
            phase = [step.signals["schema_phase"] for step in attempt.steps]
            places = [t for t, step in enumerate(attempt.steps) if step.tool == "propose_schema"]
            last = max(places, default=-1)
            assert phase == [float(t <= last) for t in range(len(phase))]
            assert not any(rewards[:max(last, 0)]) and not any(rewards[last + 1:])
            met += last > 0 and rewards[last] in (1.0, pytest.approx(0.7, abs=0.25))
        assert met

    def test_the_greedy_score_is_on_every_step_of_the_task(self, collector, network):
        groups = collector.collect(network, TASKS, 2, seed=0, greedy=True)
        greedy = collector.collect(network, TASKS, 1, seed=0, sampled=False)
        for group, alone in zip(groups, greedy, strict=True):
            scores = {step.signals["greedy"] for step in steps_of([group])}
            assert scores == {alone.attempts[0].outcome_reward}
        assert choices(groups) == choices(collector.collect(network, TASKS, 2, seed=0))

    def test_a_branch_shares_the_first_steps_of_its_trunk(self, collector, network):
        groups = collector.collect(network, TASKS, 6, seed=0, branches=True)
        shared = []
        for group in groups:
            assert group.trees == ("0", "0", "1", "1", "2", "2")
            assert group.signals().trees_G == group.trees
            for trunk, branch in zip(group.attempts[::2], group.attempts[1::2], strict=True):
                same = [
                    (one.completion, one.state_key) == (two.completion, two.state_key)
                    for one, two in zip(trunk.steps, branch.steps, strict=False)
                ]
                shared.append(same.index(False) if False in same else len(same))
        assert max(shared) >= 2

    def test_an_action_that_an_executed_call_took_is_grounded(self, groups):
        for step in steps_of(groups):
            fine = step.call_outcome in ("ok", "truncated", "duplicate")
            assert step.signals["grounding"] == float(fine)

    def test_demonstrations_are_what_the_script_wrote(self, collector, network, tasks):
        attempts = collector.demonstrate(MenuAnalyst(know=1.0), network, 10 * TASKS, seed=0)
        assert all(attempt.outcome == "match" for attempt in attempts)
        kinds = {step.tool for attempt in attempts for step in attempt.steps}
        assert kinds == {"execute_sql", "propose_schema", "submit"}
        again = collector.demonstrate(MenuAnalyst(know=1.0), network, 10 * TASKS, seed=0)
        assert [[s.completion.text for s in a.steps] for a in attempts] == [
            [s.completion.text for s in a.steps] for a in again
        ]


class TestTrainer:
    def test_imitation_makes_demonstrations_likely(self, collector):
        network = MenuNetwork(hidden=16)
        demonstrations = collector.demonstrate(MenuAnalyst(), network, 10 * TASKS, seed=0)
        losses = imitate(network, demonstrations, steps=60, batch_size=64, learning_rate=1e-2)
        assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3

    def test_steps_of_another_policy_are_refused(self, groups):
        plain = [replace(groups[0].attempts[0].steps[0])]
        assert isinstance(plain[0], MenuStep)
        with pytest.raises(TypeError, match="steps of a MenuCollector"):
            tensors([object.__new__(MenuStep.__base__)])

    def test_the_first_update_moves_probability_by_the_sign_of_the_credit(
        self, collector, network, groups
    ):
        """One step of gradient descent without momentum, on one attempt with credit."""
        before = {name: value.clone() for name, value in network.state_dict().items()}
        trainer = MenuTrainer(
            network, ESTIMATORS["grpo"](), Objective(), Optimization(learning_rate=1e-4, warmup=0)
        )
        informative = [g for g in groups if 0 < sum(a.outcome_reward for a in g.attempts) < 6]
        credits = assign(trainer.estimator, [group.signals() for group in informative])
        features_NAF, action_N = tensors(steps_of(informative))
        old_N = network(features_NAF).gather(1, action_N[:, None])[:, 0].detach()
        metrics = trainer.update(informative)
        new_N = network(features_NAF).gather(1, action_N[:, None])[:, 0].detach()
        credit_N = np.concatenate([a for (track,) in credits for a in track.advantages_GS])
        assert metrics["kl_old"] == pytest.approx(0.0, abs=1e-6)
        assert float(torch.from_numpy(credit_N) @ (new_N - old_N).double()) > 0
        network.load_state_dict(before)


@pytest.fixture(scope="module")
def smallest(tasks):
    """Two candidates and one look: what it shows decides."""
    made = MenuCollector(
        lambda: shop_menu(tasks, max_turns=4, candidates=2, looks=1, peeks=0, proposals=1)
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def habits(smallest):
    """Weights that look first and then often submit the wrong candidate."""
    network = MenuNetwork(hidden=16, seed=0)
    script = MenuAnalyst(
        peek=0.0, look=1.0, aim=1.0, trial=0.0, slip=0.0, repeat=0.0, propose=0.2, know=0.4
    )
    demonstrations = smallest.demonstrate(script, network, 40 * TASKS, seed=0)
    imitate(network, demonstrations, steps=100, batch_size=64, learning_rate=2e-2)
    return network.state_dict()


def right_answers(collector, network):
    return rollout_metrics(collector.collect(network, TASKS, 24, 1_000))["ex"]


def learn(collector, habits, name, estimator, updates):
    """Share of right answers after a few updates from the habits."""
    network = MenuNetwork(hidden=16)
    network.load_state_dict(habits)
    needs = ESTIMATORS[name].needs
    more = {"greedy": "greedy" in needs, "branches": "trees" in needs}
    optimization = Optimization(2e-2, warmup=0, token_budget=10**6)
    trainer = MenuTrainer(network, estimator, Objective(), optimization)
    for update in range(updates):
        trainer.update(collector.collect(network, 6 * TASKS, 2, update, **more))
    return right_answers(collector, network)


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_every_closed_form_estimator_learns_what_a_look_is_for_unless_its_sign_is_flipped(
    name, smallest, habits
):
    estimator = ESTIMATORS[name]()
    assert learn(smallest, habits, name, estimator, 5) > 0.85
    assert learn(smallest, habits, name, Flipped(estimator), 6) < 0.55


def test_the_habits_it_learns_from_are_between_the_two(smallest, habits):
    network = MenuNetwork(hidden=16)
    network.load_state_dict(habits)
    assert 0.55 < right_answers(smallest, network) < 0.7


def test_only_estimators_with_learned_signals_are_left_out():
    assert set(ESTIMATORS) - set(CLOSED_FORM) == {"gae", "reward_sql", "spa", "pav"}
    assert FEATURES == len(Kind) + len(Feature)

"""Learned signals of a language model: rollouts from the middle, and a critic by turn or token."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from rollout_records import attempt, group, step
from test_rollout import ANSWER, CALL, WRONG, Told, sampler
from test_trainer import PROMPT, on_policy, ragged_group, weights

from agents.batch import assemble, token_rows
from agents.credit import ESTIMATORS, Gae, Pav, ReinforcePp
from agents.credit.base import Track
from agents.learned import Fitting
from agents.learned.language import (
    EpisodeContinuations,
    LanguageSignals,
    example_by_token,
    example_of,
    hidden_states,
)
from agents.learned.signals import LEARNED, needs_of
from agents.rollout import Collector, Place, places_of
from agents.trainer import Optimization, Trainer

MODELS = set(LEARNED)
QUICK = Fitting(hidden=16, steps=40, learning_rate=1e-2)


@pytest.fixture
def collector(make_env, chat):
    made = Collector(make_env, chat, rows=8)
    yield made
    made.close()


@pytest.fixture
def sampled(collector, chat, imitator):
    """Two groups of a model that has learnt to hold an episode."""
    policy = sampler(imitator, chat, rows=8)
    return collector.collect(policy, ["shop/2", "shop/0"], 4, seed=0)


class TestPlaces:
    def test_an_attempt_taken_up_anywhere_ends_as_it_did(self, collector, chat, imitator):
        greedy = sampler(imitator, chat, rows=8, temperature=0.0)
        groups = collector.collect(greedy, [f"shop/{n}" for n in range(5)], 1, seed=0)
        whole = max((one.attempts[0] for one in groups), key=lambda a: len(a.steps))
        assert len(whole.steps) > 2
        places = places_of(whole)
        rests = collector.go_on(greedy, places, 2, seed=7)
        for number, (place, rest) in enumerate(zip(places, rests, strict=True)):
            for again in rest:
                assert (again.task_id, again.outcome) == (whole.task_id, whole.outcome)
                assert again.steps[0].context_ids == place.token_ids
                assert again.steps[0].before == whole.steps[number].before
                said = [s.completion.token_ids for s in again.steps]
                assert said == [s.completion.token_ids for s in whole.steps[number:]]
                seen = [s.observation for s in again.steps]
                assert seen == [s.observation for s in whole.steps[number:]]

    def test_a_place_has_all_tokens_up_to_its_turn(self, sampled):
        for attempt_ in (a for one in sampled for a in one.attempts):
            ids_T = token_rows([attempt_]).token_ids_BT[0].tolist()
            for place, turn in zip(places_of(attempt_), attempt_.steps, strict=True):
                length = len(place.token_ids)
                assert list(place.token_ids) == ids_T[:length]
                after = ids_T[length : length + len(turn.completion.token_ids)]
                assert after == list(turn.completion.token_ids)

    def test_an_attempt_without_states_has_no_places(self):
        with pytest.raises(ValueError, match="no states to go back to"):
            places_of(attempt(step([1], [2])))

    def test_a_call_that_could_be_executed_is_grounded(self, make_env, chat):
        missing = CALL.replace("city", "nowhere")
        policy = Told(chat, lambda handle: [CALL, missing, "no call", ANSWER])
        collector = Collector(make_env, chat, rows=1)
        (one,) = collector.collect(policy, ["shop/0"], 1, seed=0)
        collector.close()
        assert [s.signals["grounding"] for s in one.attempts[0].steps] == [1, 0, 0, 1]


class TestContinuations:
    def test_episodes_that_end_right_are_counted_from_every_state(self, collector, chat):
        first = Told(chat, lambda handle: [CALL, ANSWER])
        (one,) = collector.collect(first, ["shop/0"], 1, seed=0)
        places = places_of(one.attempts[0])
        rights = {0: ANSWER, 1: WRONG, 2: ANSWER, 3: WRONG, 4: WRONG, 5: ANSWER}
        policy = Told(chat, lambda handle: [rights[handle]])
        continuations = EpisodeContinuations(collector, lambda: policy)
        assert continuations.successes(places, 3, seed=0) == [2, 1]
        assert continuations.played == 6
        assert policy.heard[0][0] == places[0].token_ids
        assert policy.heard[3][0] == places[1].token_ids

    def test_draws_follow_from_the_seed_and_are_not_those_of_the_attempts(
        self, collector, chat, imitator, sampled
    ):
        policy = sampler(imitator, chat, rows=8)
        drawn = []

        class Seen:
            def open(self, prompt_ids, seeds):
                drawn.append(tuple(seeds))
                return policy.open(prompt_ids, seeds)

            def __getattr__(self, name):
                return getattr(policy, name)

        continuations = EpisodeContinuations(collector, Seen, seed=3)
        places = places_of(sampled[0].attempts[0])[:1]
        one = continuations.successes(places, 4, seed=0)
        assert continuations.successes(places, 4, seed=0) == one
        continuations.successes(places, 4, seed=1)
        assert drawn[0] == drawn[1] and not set(drawn[0]) & set(drawn[2])
        assert not set(drawn[0]) & set(range(4)), "the attempts were drawn with 0, 1, 2, 3"

    def test_what_is_no_place_is_refused(self, collector):
        with pytest.raises(TypeError, match="expected a Place as a state, got 'here'"):
            EpisodeContinuations(collector, lambda: None).successes(["here"], 1, 0)


class TestSignals:
    def given(self, name, model, collector, chat, **options):
        policy = sampler(model, chat, rows=8)
        continuations = EpisodeContinuations(collector, lambda: policy)
        return LanguageSignals.for_estimator(
            ESTIMATORS[name](), model, continuations, QUICK, rollouts=4, **options
        )

    @pytest.mark.parametrize("name", [n for n in ESTIMATORS if set(ESTIMATORS[n].needs) & MODELS])
    def test_every_estimator_that_needs_a_model_gets_what_it_needs(
        self, name, imitator, collector, chat, sampled
    ):
        signals = self.given(name, imitator, collector, chat)
        groups, _ = signals(sampled)
        trainer = Trainer(copy.deepcopy(imitator), ESTIMATORS[name]())
        trainer.update(groups)
        wanted = [a.shape for one in groups for a in one.signals().process_GS]
        given = [a.shape for credit in trainer.credits for a in credit[0].advantages_GS]
        assert given == wanted
        learned = set(needs_of(ESTIMATORS[name]())) & MODELS
        for one in groups:
            assert learned <= set(one.signals().learned_GS)
            for need in learned & {"prover_before", "prover_after", "step_score"}:
                for row_S in one.signals().learned(need):
                    assert ((row_S >= 0) & (row_S <= 1)).all()

    def test_the_prover_is_asked_before_every_step_and_knows_the_end(
        self, imitator, collector, chat, sampled
    ):
        signals = self.given("pav", imitator, collector, chat)
        groups, _ = signals(sampled)
        for one in groups:
            before_GS = one.signals().learned("prover_before")
            after_GS = one.signals().learned("prover_after")
            for before_S, after_S, made in zip(before_GS, after_GS, one.attempts, strict=True):
                np.testing.assert_array_equal(after_S[:-1], before_S[1:])
                assert after_S[-1] == float(made.outcome == "match")
            assert len({before_S[0] for before_S in before_GS}) == 1, "all begin alike"

    def test_stored_models_go_on_as_the_originals(self, imitator, collector, chat, sampled):
        for name, options in (("gae", {}), ("gae", {"by_token": True}), ("reward_sql", {})):
            first = self.given(name, imitator, collector, chat, **options)
            other = self.given(name, imitator, collector, chat, **options)
            first(sampled)
            other.load_state_dict(first.state_dict())
            (groups, logged), (again, logged_too) = first(sampled), other(sampled)
            assert logged == logged_too and logged
            assert groups == again

    def test_no_features_are_computed_for_rollouts_alone(self, sampled):
        made = example_of(None, sampled[0])
        assert made.features_G == () and len(made.restore_GS) == 4

    def test_an_estimator_that_needs_no_model_leaves_the_groups_alone(self, imitator, sampled):
        signals = LanguageSignals.for_estimator(ESTIMATORS["grpo"](), imitator)
        assert signals(sampled) == (list(sampled), {})

    def test_what_needs_rollouts_has_no_form_by_token(self, imitator, collector, chat):
        with pytest.raises(ValueError, match="values of a critic alone"):
            self.given("pav", imitator, collector, chat, by_token=True)


TWO_TURNS = attempt(step([1, 2], [3, 4]), step([5], [6, 7, 8], process=0.5, outcome=1.0))
ONE_TURN = attempt(step([9], [10]))


class TestTokens:
    def test_the_features_of_a_token_are_the_hidden_state_before_it(self, model):
        made = example_by_token(model, group(TWO_TURNS, ONE_TURN))
        first, second = made.features_G
        hidden_BTD = hidden_states(model, token_rows([TWO_TURNS, ONE_TURN])).numpy()
        np.testing.assert_array_equal(first.before_SF, hidden_BTD[0, [1, 2, 4, 5, 6]])
        np.testing.assert_array_equal(second.before_SF, hidden_BTD[1, [0]])
        assert made.signals.steps_G == (5, 1)
        assert made.signals.process_GS[0].tolist() == [0, 0, 0, 0, 0.5]

    def test_numbers_per_token_stand_on_the_tokens_of_their_steps(self):
        rows = (np.arange(5.0), np.array([9.0]))
        given = group(TWO_TURNS, ONE_TURN).with_token_signals({"values": rows})
        turns = [s.token_signals["values"] for a in given.attempts for s in a.steps]
        assert turns == [(0.0, 1.0), (2.0, 3.0, 4.0), (9.0,)]
        for row_T, seen_T in zip(rows, given.token_signals().learned("values"), strict=True):
            np.testing.assert_array_equal(row_T, seen_T)

    def test_credit_per_token_is_laid_on_the_sampled_tokens_in_order(self):
        credit = (Track((np.arange(1.0, 6.0), np.array([7.0]))),)
        (track,) = assemble([group(TWO_TURNS, ONE_TURN)], [credit], by_token=True).tracks
        assert track.advantages_BT.tolist() == [
            [0, 0, 1, 2, 0, 3, 4, 5], [0, 7, 0, 0, 0, 0, 0, 0],
        ]
        with pytest.raises(ValueError, match=r"have \[5, 1\] tokens, the advantages .* \[2, 1\]"):
            per_step = (Track((np.ones(2), np.ones(1))),)
            assemble([group(TWO_TURNS, ONE_TURN)], [per_step], by_token=True)


@dataclass
class Said:
    """Gives every token the value that a function of its place says."""

    values: tuple

    def __call__(self, groups):
        rows = tuple(np.array(row) for row in self.values)
        return [one.with_token_signals({"values": rows}) for one in groups], {"said": 1.0}


def test_token_level_ppo_by_hand(model):
    # rewards 0 0 | 0 0 0.5 + 1 with gamma = lam = 1: what is left of the return over the value
    values = ((0.1, 0.2, 0.3, 0.4, 0.5), (0.6,))
    trainer = Trainer(
        copy.deepcopy(model), Gae(process_weight=1.0, whiten=False),
        signals=Said(values), by_token=True,
    )
    (made,) = [group(*on_policy(model, [TWO_TURNS, ONE_TURN]))]
    metrics = trainer.update([made])
    advantages = np.array([1.4, 1.3, 1.2, 1.1, 1.0, -0.6])
    assert metrics["said"] == 1.0 and metrics["seconds_signals"] >= 0.0
    assert metrics["loss"] == pytest.approx(-advantages.mean(), abs=1e-4)
    ((track,),) = trainer.credits
    np.testing.assert_allclose(track.advantages_GS[0], [1.35, 1.1])
    np.testing.assert_allclose(track.advantages_GS[1], [-0.6])


def one_token_turns(model, seed):
    """Attempts in which every turn is one token: turn and token are the same unit of time."""
    draws = np.random.default_rng(seed)
    attempts = [
        attempt(*(
            step(PROMPT, [int(draws.integers(10, 200))], outcome=float(last == place and last % 2))
            for place in range(last + 1)
        ))
        for last in range(4)
    ]
    return group(*on_policy(model, attempts))


@pytest.mark.parametrize("estimator", [Gae(gamma=0.9, lam=0.8), ReinforcePp(gamma=0.9)])
def test_where_every_turn_is_one_token_the_unit_of_time_does_not_matter(model, estimator):
    made, after = one_token_turns(model, 0), []
    for by_token in (False, True):
        learner = copy.deepcopy(model)
        # not the critic's first batch, whose features by step hold more than those by token
        signals = LanguageSignals.for_estimator(estimator, learner, None, QUICK, by_token=by_token)
        trainer = Trainer(
            learner, estimator, optimization=Optimization(1e-3, warmup=0),
            signals=signals, by_token=by_token,
        )
        trainer.update([made])
        after.append(weights(learner))
    assert not torch.equal(after[0], weights(model))
    torch.testing.assert_close(*after, atol=1e-5, rtol=0)


@pytest.mark.parametrize("by_token", [False, True])
def test_a_trainer_with_a_critic_goes_on_bit_for_bit(model, by_token):
    groups = [ragged_group(model, seed) for seed in range(4)]

    def made(base):
        learner = copy.deepcopy(base)
        signals = LanguageSignals.for_estimator(Gae(), learner, None, QUICK, by_token=by_token)
        return Trainer(
            learner, Gae(), optimization=Optimization(1e-3), signals=signals, by_token=by_token
        )

    whole, first = made(model), made(model)
    for one in groups:
        whole.update([one])
    for one in groups[:2]:
        first.update([one])
    resumed = made(first.model)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    logged = [resumed.update([one]) for one in groups[2:]]
    assert all("critic_loss" in line for line in logged)
    assert torch.equal(weights(whole.model), weights(resumed.model))


def test_a_place_is_told_by_state_and_tokens():
    assert Place("a", (1, 2)) == Place("a", (1, 2)) != Place("a", (1, 3))
    assert Pav().needs == ("outcome", "prover_before", "prover_after")

"""Greedy attempts and branches of a language model: what ReMax and Tree-GRPO ask for."""

import copy

import numpy as np
import pytest
import torch
from test_rollout import ANSWER, CALL, WRONG, Told, sampler
from test_trainer import weights

from agents.batch import token_rows
from agents.credit import ESTIMATORS
from agents.learned.rollouts import branched, collect_for, with_greedy
from agents.likelihood import token_logprobs
from agents.rollout import Collector
from agents.trainer import Trainer

IDS = ["shop/2", "shop/0", "shop/3"]


@pytest.fixture
def collector(make_env, chat):
    made = Collector(make_env, chat, rows=8)
    yield made
    made.close()


@pytest.fixture
def trees(collector, chat, imitator):
    """Three groups of four trees of two."""
    return branched(collector, sampler(imitator, chat, rows=8), IDS, 8, seed=5)


def turns_of(attempt):
    return [step.completion.token_ids for step in attempt.steps]


def pairs_of(group):
    return list(zip(group.attempts[::2], group.attempts[1::2], strict=True))


class TestGreedy:
    def test_the_score_of_the_greedy_attempt_stands_on_every_step(self, collector, chat):
        sampled = collector.collect(
            Told(chat, lambda handle: [CALL, WRONG] if handle % 2 else [WRONG]), IDS[1:], 2, seed=0
        )
        right = Told(chat, lambda handle: [CALL, CALL, ANSWER])  # the answer to shop/0 alone
        groups = with_greedy(sampled, collector.collect(right, IDS[1:], 1, seed=0))
        rows = [[x.tolist() for x in one.signals().learned("greedy")] for one in groups]
        assert rows == [[[1.0], [1.0, 1.0]], [[0.0], [0.0, 0.0]]]

    def test_one_policy_samples_and_another_takes_the_likeliest_token(
        self, collector, chat, imitator
    ):
        made = []

        def policy(temperature):
            made.append(temperature)
            return sampler(imitator, chat, rows=8, temperature=temperature)

        groups = collect_for({"greedy"}, collector, policy, 0.7, IDS, 2, seed=3)
        assert made == [0.7, 0.0]
        plain = collector.collect(policy(0.7), IDS, 2, seed=3)
        best = collector.collect(policy(0.0), IDS, 1, seed=99)
        assert groups == with_greedy(plain, best), "greedy attempts do not depend on the seed"
        made.clear()
        assert collect_for((), collector, policy, 0.7, IDS, 2, seed=3) == plain
        assert made == [0.7]


class TestBranches:
    def test_a_branch_shares_the_turns_of_its_trunk_up_to_one_and_goes_on_by_itself(self, trees):
        shared = []
        for group in trees:
            assert group.trees == tuple("00112233")
            assert {one.task_id for one in group.attempts} == {group.task_id}
            for trunk, branch in pairs_of(group):
                same = [a == b for a, b in zip(trunk.steps, branch.steps)]
                cut = same.index(False) if False in same else len(same)
                shared.append(cut)
                assert branch.steps[:cut] == trunk.steps[:cut]
                if cut < min(len(trunk.steps), len(branch.steps)):
                    both = (trunk.steps[cut], branch.steps[cut])
                    assert len({one.context_ids for one in both}) == 1
                    assert len({one.state_key for one in both}) == 1
                    assert len({one.before for one in both}) == 1
        assert len(set(shared)) > 1, "cut at different turns"

    def test_all_turns_of_a_trunk_are_cut_at_about_as_often(self, collector, chat):
        def turns(handle):  # a hundred trunks come first; the branches end at once
            return [CALL, CALL, CALL, ANSWER] if handle < 100 else [WRONG]

        groups = branched(collector, Told(chat, turns), ["shop/0"] * 100, 2, seed=1)
        lengths = [len(branch.steps) for one in groups for _, branch in pairs_of(one)]
        often = np.bincount(lengths, minlength=5)[1:]
        assert often.sum() == len(lengths) == 100 and (often > 12).all()

    def test_the_tokens_of_a_branch_are_those_the_policy_saw(self, trees, imitator):
        attempts = [branch for group in trees for _, branch in pairs_of(group)]
        rows = token_rows(attempts)
        with torch.no_grad():
            logprobs_BT, _ = token_logprobs(imitator, rows.token_ids_BT, rows.mask_BT)
        torch.testing.assert_close(rows.behaviour_BT, logprobs_BT, atol=1e-4, rtol=0)

    def test_branches_are_not_drawn_as_their_trunks_were(self, trees):
        both = [pair for group in trees for pair in pairs_of(group)]
        assert sum(turns_of(trunk) != turns_of(branch) for trunk, branch in both) > len(both) / 2

    def test_the_same_seed_gives_the_same_trees(self, collector, chat, imitator, trees):
        again = branched(collector, sampler(imitator, chat, rows=8), IDS, 8, seed=5)
        assert again == trees
        assert branched(collector, sampler(imitator, chat, rows=8), IDS, 8, seed=6) != trees

    def test_trees_are_grown_for_an_estimator_that_needs_them(
        self, collector, chat, imitator, trees
    ):
        def policy(temperature):
            return sampler(imitator, chat, rows=8, temperature=temperature)

        needs = ESTIMATORS["tree_grpo"].needs
        assert collect_for(needs, collector, policy, 1.0, IDS, 8, seed=5) == trees

    def test_attempts_of_an_odd_number_are_refused(self, collector):
        with pytest.raises(ValueError, match="expected an even group_size, got 3"):
            branched(collector, None, IDS, 3, seed=0)


@pytest.mark.parametrize("name", ["remax", "tree_grpo"])
def test_the_policy_is_trained_by_them(name, collector, chat, imitator):
    estimator, learner = ESTIMATORS[name](), copy.deepcopy(imitator)

    def policy(temperature):  # right about half of the time, and where it is greedy
        sure = temperature == 0
        return Told(chat, lambda handle: [CALL, ANSWER if sure or handle % 3 else WRONG, WRONG])

    groups = collect_for(estimator.needs, collector, policy, 1.0, ["shop/0"] * 2, 8, seed=0)
    trainer = Trainer(learner, estimator)
    metrics = trainer.update(groups)
    assert metrics["groups_kept"] == 1
    assert not torch.equal(weights(learner), weights(imitator))
    for group, (track,) in zip(groups, trainer.credits, strict=True):
        (expected,) = estimator(group.signals())
        for row_S, expected_S in zip(track.advantages_GS, expected.advantages_GS, strict=True):
            np.testing.assert_array_equal(row_S, expected_S)

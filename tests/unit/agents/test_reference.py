"""What keeps a policy near a reference, and the rules for attempts that run out of tokens."""

import copy
import math

import numpy as np
import pytest
import torch
from rollout_records import attempt, group, step

from agents.batch import token_rows
from agents.credit import Grpo, Track
from agents.likelihood import token_logprobs
from agents.losses import Totals
from agents.overlong import Overlong
from agents.pretrained import Lora, checkpoint_activations, has_adapter, without_adapter
from agents.reference import Penalty, adapter_off, frozen
from agents.trainer import Optimization, Trainer
from agents.types import Ended

MASK = torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
POLICY = torch.log(torch.tensor([[1.0, 0.5, 0.2], [1.0, 0.8, 1.0]]))
REFERENCE = torch.log(torch.tensor([[1.0, 0.25, 0.2], [1.0, 0.4, 0.1]]))


def penalty(coefficient=0.5, estimator="k1"):
    return Penalty(lambda *_: REFERENCE, coefficient, estimator)


def test_the_penalty_by_hand():
    # log ratios of the three sampled tokens: log 2, 0, log 2
    loss, mean = penalty().loss(POLICY, REFERENCE, MASK, "token_mean", Totals.of(MASK))
    assert float(mean) == pytest.approx(2 * math.log(2) / 3)
    assert float(loss) == pytest.approx(math.log(2) / 3)
    loss, mean = penalty().loss(POLICY, REFERENCE, MASK, "seq_mean_token_mean", Totals.of(MASK))
    assert float(mean) == pytest.approx(2 * math.log(2) / 3)  # always a mean over tokens
    assert float(loss) == pytest.approx(0.5 * (math.log(2) / 2 + math.log(2)) / 2)


def test_shares_of_micro_batches_add_up():
    whole = penalty().loss(POLICY, REFERENCE, MASK, "token_mean", Totals.of(MASK))
    parts = [
        penalty().loss(
            *(rows_BT[b : b + 1] for rows_BT in (POLICY, REFERENCE, MASK)),
            "token_mean",
            Totals.of(MASK),
        )
        for b in (0, 1)
    ]
    for place in (0, 1):
        assert float(parts[0][place] + parts[1][place]) == pytest.approx(float(whole[place]))


@pytest.mark.parametrize("options", [{"coefficient": 0.0}, {"estimator": "k9"}])
def test_a_penalty_that_is_none_is_refused(options):
    with pytest.raises((ValueError, LookupError)):
        penalty(**options)


def two_attempts(model, **more):
    """Two attempts with the model's own log-probabilities, one of them right."""
    made = [
        attempt(step([20, 21], [50, 51], outcome=1.0)), attempt(step([20, 21], [60]), **more)
    ]
    rows = token_rows(made)
    with torch.no_grad():
        sampled_BT, _ = token_logprobs(model, rows.token_ids_BT, rows.mask_BT)
    return group(*(
        attempt(
            step([20, 21], a.steps[0].completion.token_ids, outcome=a.outcome_reward,
                 logprobs=row_T[mask_T > 0].tolist()),
            ended=a.ended,
        )
        for a, row_T, mask_T in zip(made, sampled_BT, rows.mask_BT)
    ))  # fmt: skip


def divergence(model, reference, groups):
    rows = token_rows(groups.attempts)
    with torch.no_grad():
        logprobs_BT, _ = token_logprobs(model, rows.token_ids_BT, rows.mask_BT)
    there_BT = reference(rows.token_ids_BT, rows.mask_BT, 1.0)
    return float((logprobs_BT - there_BT).abs().sum())


def moved(model, start, coefficient):
    """How far ten updates on the same attempts take a model from where it began."""
    learner, reference = copy.deepcopy(model), frozen(copy.deepcopy(model))
    held = Penalty(reference, coefficient, "k2") if coefficient else None
    trainer = Trainer(
        learner, Grpo(), optimization=Optimization(3e-3, warmup=0), penalty=held
    )
    for _ in range(10):
        metrics = trainer.update([start])
    assert ("kl_reference" in metrics) == bool(coefficient)
    return divergence(learner, reference, start)


def test_a_heavier_penalty_keeps_the_policy_nearer(model):
    start = two_attempts(model)
    free, light, heavy = (moved(model, start, weight) for weight in (0.0, 0.3, 30.0))
    assert heavy < light < free


def test_a_frozen_reference_is_not_trained(model):
    reference = frozen(model)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    logprobs_BT = reference(torch.tensor([[20, 21, 50]]), torch.tensor([[0.0, 0.0, 1.0]]), 1.0)
    assert not logprobs_BT.requires_grad and logprobs_BT[0, 2] < 0


class TestAnAdapter:
    @pytest.fixture
    def adapted(self, model):
        Lora(4, 8.0).add_to(model, seed=0)
        return model

    def test_it_changes_nothing_at_first_and_only_it_is_trained(self, model):
        start = two_attempts(model)
        before = copy.deepcopy(model)
        weights = {name: value.detach().clone() for name, value in model.named_parameters()}
        assert not has_adapter(model)
        Lora(4, 8.0).add_to(model, seed=0)
        assert has_adapter(model) and divergence(model, frozen(before), start) == 0.0
        trained = {name for name, value in model.named_parameters() if value.requires_grad}
        assert trained and all("lora_" in name for name in trained)
        Trainer(model, Grpo(), optimization=Optimization(1e-2, warmup=0)).update([start])
        assert divergence(model, frozen(before), start) > 1e-3
        now = dict(model.named_parameters())
        for name, value in weights.items():
            kept = now.get(name, now.get(name.replace(".weight", ".base_layer.weight")))
            assert torch.equal(kept.detach(), value), name

    def test_with_it_off_the_model_is_the_reference_and_training_goes_on(self, adapted):
        start = two_attempts(adapted)
        reference, before = adapter_off(adapted), frozen(copy.deepcopy(adapted))
        held = Penalty(reference, 0.1)
        trainer = Trainer(
            adapted, Grpo(), optimization=Optimization(1e-2, warmup=0), penalty=held
        )
        first, second = trainer.update([start]), trainer.update([start])
        assert first["kl_reference"] == pytest.approx(0.0, abs=1e-6)
        assert second["kl_reference"] > 1e-4
        rows = token_rows(start.attempts)
        torch.testing.assert_close(
            reference(rows.token_ids_BT, rows.mask_BT, 1.0),
            before(rows.token_ids_BT, rows.mask_BT, 1.0),
        )
        assert divergence(adapted, reference, start) > 1e-3
        assert all(v.requires_grad for n, v in adapted.named_parameters() if "lora_" in n)

    def test_an_error_in_the_block_leaves_it_on(self, adapted):
        with pytest.raises(KeyError), without_adapter(adapted):
            raise KeyError
        assert any(value.requires_grad for value in adapted.parameters())

    def test_its_first_weights_depend_on_the_seed_alone(self, model):
        def first(seed):
            made = copy.deepcopy(model)
            Lora(4, 8.0).add_to(made, seed)
            return torch.cat([v.flatten() for n, v in made.named_parameters() if "lora_A" in n])

        torch.manual_seed(1)
        one, draw = first(0), torch.rand(1)
        torch.manual_seed(2)
        assert torch.equal(first(0), one) and not torch.equal(first(1), one)
        torch.manual_seed(1)
        assert torch.equal(torch.rand(1), draw)  # the global generator is left untouched

    @pytest.mark.parametrize(("rank", "alpha"), [(0, 1.0), (4, 0.0)])
    def test_numbers_that_make_none_are_refused(self, rank, alpha):
        with pytest.raises(ValueError, match="rank >= 1 and alpha > 0"):
            Lora(rank, alpha)


@pytest.mark.parametrize("adapter", [False, True])
def test_recomputed_activations_give_the_same_update(model, adapter):
    start = two_attempts(model)
    if adapter:
        Lora(4, 8.0).add_to(model, seed=0)
    plain, lean = copy.deepcopy(model), copy.deepcopy(model)
    checkpoint_activations(lean)
    for learner in (plain, lean):
        Trainer(learner, Grpo(), optimization=Optimization(1e-2, warmup=0)).update([start])
    changed = []
    for one, two, before in zip(plain.parameters(), lean.parameters(), model.parameters()):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=0)
        changed.append(float((one - before).detach().abs().max()))
    assert max(changed) > 1e-3


class TestOverlong:
    LONG = group(
        attempt(step([1] * 6, [2] * 2), ended=Ended.SUBMITTED),  # 8 tokens
        attempt(step([1] * 6, [2] * 3), step([3], [2] * 4), ended=Ended.TOKEN_LIMIT),  # 14
        attempt(step([1] * 6, [2] * 12), ended=Ended.TOKEN_LIMIT),  # 18
    )
    CREDIT = (Track((np.array([1.0]), np.array([2.0, -3.0]), np.array([4.0]))),)

    def test_keep_does_nothing(self):
        rule = Overlong()
        np.testing.assert_array_equal(rule.signals(self.LONG).outcome_G, [0.0, 0.0, 0.0])
        assert rule.credit(self.LONG, self.CREDIT) is self.CREDIT

    def test_the_penalty_by_hand(self):
        # it begins at 16 - 8 tokens, is -6/8 at 14 and stays -1 above 16
        rule = Overlong("penalty", 16, 8)
        np.testing.assert_allclose(rule.signals(self.LONG).outcome_G, [0.0, -0.75, -1.0])
        assert rule.credit(self.LONG, self.CREDIT) is self.CREDIT

    def test_mask_takes_the_credit_of_attempts_that_were_cut(self):
        (track,) = Overlong("mask").credit(self.LONG, self.CREDIT)
        assert [list(a_S) for a_S in track.advantages_GS] == [[1.0], [0.0, 0.0], [0.0]]
        assert [list(m_S) for m_S in track.mask_GS] == [[True], [False, False], [False]]
        np.testing.assert_array_equal(Overlong("mask").signals(self.LONG).outcome_G, [0, 0, 0])

    def test_mask_keeps_a_mask_that_is_there(self):
        masks = (np.array([False]), np.array([True, True]), np.array([True]))
        given = (Track(self.CREDIT[0].advantages_GS, masks, 0.5),)
        (track,) = Overlong("mask").credit(self.LONG, given)
        assert not any(m_S.any() for m_S in track.mask_GS) and track.weight == 0.5

    def test_the_trainer_learns_nothing_from_a_group_that_is_all_cut_off(self, model):
        right = attempt(step([20], [50], outcome=1.0), ended=Ended.TOKEN_LIMIT)
        wrong = attempt(step([20], [60]), ended=Ended.TOKEN_LIMIT)
        trainer = Trainer(model, Grpo(), overlong=Overlong("mask"))
        assert trainer.update([group(right, wrong)])["groups_kept"] == 0.0
        assert trainer.steps == 0

    @pytest.mark.parametrize(
        ("rule", "limit", "cache"), [("drop", 9, 3), ("penalty", 9, 0), ("penalty", 9, 10)]
    )
    def test_what_is_no_rule_is_refused(self, rule, limit, cache):
        with pytest.raises(ValueError, match="overlong"):
            Overlong(rule, limit, cache)

"""One update: what changes the weights, by how much, and what must not."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from rollout_records import attempt, group, step

from agents.batch import token_rows
from agents.credit import Grpo, Track
from agents.likelihood import token_logprobs
from agents.losses import REDUCTIONS, Objective
from agents.trainer import Optimization, Trainer, TrainingError

PROMPT = [20, 21, 22]


@dataclass(frozen=True)
class Given:
    """Credits every step of attempt g with `advantages[g]`."""

    advantages: tuple[float, ...]
    tracks: int = 1
    only_attempt: int | None = None

    def __call__(self, group):
        credit = tuple(
            np.full(steps, value) for steps, value in zip(group.steps_G, self.advantages)
        )
        masks = None
        if self.only_attempt is not None:
            masks = tuple(
                np.full(steps, place == self.only_attempt)
                for place, steps in enumerate(group.steps_G)
            )
        return (Track(credit, masks, weight=1 / self.tracks),) * self.tracks


def on_policy(model, attempts, temperature=1.0):
    """The attempts with the log-probabilities that the model gives them."""
    rows = token_rows(attempts)
    with torch.no_grad():
        logprobs_BT, _ = token_logprobs(model, rows.token_ids_BT, rows.mask_BT, temperature)
    sampled_B = [row_T[mask_T > 0].tolist() for row_T, mask_T in zip(logprobs_BT, rows.mask_BT)]
    return [
        attempt(*(turn_with(one, sampled) for one in before.steps))
        for before, sampled in zip(attempts, sampled_B)
    ]


def turn_with(before, logprobs):
    """The same turn with log-probabilities taken from the front of a list."""
    taken = [logprobs.pop(0) for _ in before.completion.token_ids]
    return step(
        before.context_ids,
        before.completion.token_ids,
        logprobs=taken,
        outcome=before.outcome_reward,
        process=before.process_reward,
    )


def ragged_group(model, seed=0, task_id="task"):
    """Four attempts of one to four turns, two of them right."""
    draws = np.random.default_rng(seed)

    def turn(last, right):
        sampled = draws.integers(10, 200, size=draws.integers(2, 9)).tolist()
        context = draws.integers(10, 200, size=draws.integers(1, 9)).tolist()
        return step(context, sampled, outcome=float(last and right), process=float(draws.random()))

    attempts = [
        attempt(*(turn(place == turns - 1, turns % 2 == 0) for place in range(turns)))
        for turns in (1, 2, 3, 4)
    ]
    return group(*on_policy(model, attempts), task_id=task_id)


def trained(model, groups, estimator=Grpo(), objective=Objective(), **options):
    """A copy of the model after one update, and the metrics."""
    learner = copy.deepcopy(model)
    optimization = Optimization(**{"learning_rate": 1e-3, "warmup": 0, **options})
    metrics = Trainer(learner, estimator, objective, optimization).update(groups)
    return learner, metrics


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def pair(model, *advantages):
    """One group of two attempts that say token 50 and token 60, once each."""
    attempts = [attempt(step(PROMPT, [50])), attempt(step(PROMPT, [60]))]
    return group(*on_policy(model, attempts)), Given(advantages)


def probabilities(model, *tokens):
    with torch.no_grad():
        return model(torch.tensor([PROMPT])).logits[0, -1].softmax(-1)[list(tokens)]


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_token_budget_changes_memory_and_nothing_else(model, reduction):
    groups = [ragged_group(model, seed) for seed in range(3)]
    objective = Objective(reduction=reduction, length=20.0)
    big, in_one = trained(model, groups, objective=objective, token_budget=10_000)
    small, in_many = trained(model, groups, objective=objective, token_budget=1)
    # Adam turns rounding errors of the smallest gradients into a hundredth of a step of 1e-3
    torch.testing.assert_close(weights(big), weights(small), atol=3e-5, rtol=0)
    assert (weights(big) - weights(model)).abs().max() > 5e-4
    for name in ("loss", "grad_norm", "entropy", "kl_old", "clip_fraction"):
        assert in_one[name] == pytest.approx(in_many[name], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("advantages", [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)])
def test_a_positive_advantage_raises_the_tokens_probability_and_a_negative_lowers_it(
    model, advantages
):
    groups, estimator = pair(model, *advantages)
    after, _ = trained(model, [groups], estimator, learning_rate=1e-4)
    change = probabilities(after, 50, 60) - probabilities(model, 50, 60)
    credited = 0 if advantages[0] else 1
    assert torch.sign(change[credited]) == advantages[credited]


def test_the_loss_of_the_policy_that_sampled_is_minus_the_mean_advantage(model):
    # attempt 0 has 1 token with advantage 2, attempt 1 has 3 with advantage -1: mean -1/4
    attempts = [attempt(step(PROMPT, [50])), attempt(step(PROMPT, [60, 61]), step([30], [62]))]
    one = group(*on_policy(model, attempts))
    _, metrics = trained(model, [one], Given((2.0, -1.0)))
    assert metrics["loss"] == pytest.approx(0.25, abs=1e-4)
    assert metrics["kl_old"] == pytest.approx(0.0, abs=1e-5)
    assert metrics["clip_fraction"] == 0.0
    assert metrics["groups_kept"] == 1.0 and metrics["seconds_backward"] > 0


def loss_by_hand(model, reduction, **options):
    """The loss of two groups: of 1 and 3 tokens with advantages 2 and -1, and of 2 with 1 each."""
    groups = [
        [attempt(step(PROMPT, [50])), attempt(step(PROMPT, [60, 61]), step([30], [62]))],
        [attempt(step(PROMPT, [70, 71])), attempt(step(PROMPT, [80, 81]))],
    ]
    made = [group(*on_policy(model, attempts)) for attempts in groups]
    calls = iter([(2.0, -1.0), (1.0, 1.0)])
    objective = Objective(reduction=reduction, **options)
    _, metrics = trained(model, made, lambda one: Given(next(calls))(one), objective)
    return metrics["loss"]


def test_every_task_weighs_the_same_where_the_mean_is_over_prompts(model):
    # group means over tokens: (2 - 3) / 4 and 1
    assert loss_by_hand(model, "prompt_mean") == pytest.approx(-(-0.25 + 1.0) / 2, abs=1e-4)


def test_a_constant_length_stands_in_the_denominator_whatever_the_batch_looks_like(model):
    # sums of attempts: 2, -3, 2, 2
    loss = loss_by_hand(model, "seq_mean_token_sum_norm", length=10.0)
    assert loss == pytest.approx(-(2 - 3 + 2 + 2) / 4 / 10, abs=1e-4)


def test_log_probabilities_are_compared_at_the_temperature_of_the_sampler(model):
    attempts = [attempt(step(PROMPT, [50, 51])), attempt(step(PROMPT, [60, 61]))]
    one = group(*on_policy(model, attempts, temperature=0.5))
    for temperature, same in ((0.5, True), (1.0, False)):
        trainer = Trainer(copy.deepcopy(model), Given((1.0, -1.0)), temperature=temperature)
        kl = trainer.update([one])["kl_old"]
        assert (abs(kl) < 1e-5) is same


def test_groups_without_signal_leave_the_weights_bit_identical(model):
    groups, _ = pair(model)
    after, metrics = trained(model, [groups, groups], Given((0.0, 0.0)))
    assert torch.equal(weights(after), weights(model))
    assert metrics["groups_kept"] == 0.0 and "loss" not in metrics


def test_groups_without_signal_do_not_dilute_the_others(model):
    telling = ragged_group(model)
    silent, _ = pair(model)
    alone, _ = trained(model, [telling])
    among, metrics = trained(model, [silent, telling, silent])
    assert torch.equal(weights(alone), weights(among))
    assert metrics["groups_kept"] == pytest.approx(1 / 3)


def test_credit_that_is_zero_on_some_steps_only_is_kept(model):
    groups, _ = pair(model)
    after, metrics = trained(model, [groups], Given((0.0, 1.0)))
    assert metrics["groups_kept"] == 1.0 and not torch.equal(weights(after), weights(model))


@pytest.mark.parametrize("budget", [1, 10_000])
def test_a_loss_that_is_not_finite_is_refused_and_leaves_no_trace(model, budget):
    broken, estimator = pair(model, 1.0, float("nan"))
    learner = copy.deepcopy(model)
    trainer = Trainer(learner, estimator, optimization=Optimization(token_budget=budget))
    with pytest.raises(TrainingError, match="the loss is nan at optimiser step 0"):
        trainer.update([broken])
    assert torch.equal(weights(learner), weights(model))
    trainer.estimator = Given((1.0, -1.0))
    trainer.update([broken])
    fresh = Trainer(copy.deepcopy(model), Given((1.0, -1.0)))
    fresh.optimization = trainer.optimization
    fresh.update([broken])
    assert torch.equal(weights(learner), weights(fresh.model))


def test_a_gradient_that_is_not_finite_is_refused(model):
    groups, estimator = pair(model, 1.0, -1.0)
    learner = copy.deepcopy(model)
    next(learner.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TrainingError, match="the gradient norm is .* at optimiser step 0"):
        Trainer(learner, estimator).update([groups])
    assert torch.equal(weights(learner), weights(model))


def test_gradients_are_clipped_to_their_norm(model):
    trainer = Trainer(model, Grpo(), optimization=Optimization(max_grad_norm=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    norm = trainer.apply_gradients()
    assert norm == pytest.approx(weights(model).numel() ** 0.5)
    # the first moment is a tenth of the clipped gradient
    moments = torch.cat([s["exp_avg"].flatten() for s in trainer.optimizer.parts[0].state.values()])
    assert float(moments.norm()) == pytest.approx(0.1 * 0.5, rel=1e-4)


def test_the_learning_rate_ramps_up_and_stays(model):
    trainer = Trainer(model, Grpo(), optimization=Optimization(learning_rate=0.4, warmup=4))
    rates = []
    for _ in range(6):
        trainer.apply_gradients()
        rates.append(trainer.optimizer.parts[0].param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    assert trainer.steps == 6


def test_minibatches_are_steps_on_every_second_row(model):
    one = ragged_group(model)
    learner, estimator = copy.deepcopy(model), Given((1.0, -1.0, 2.0, -2.0))
    trainer = Trainer(learner, estimator, optimization=Optimization(minibatches=2))
    trainer.update([one])
    assert trainer.steps == 2
    by_hand = copy.deepcopy(model)
    second = Trainer(by_hand, Given((1.0, 2.0)))
    second.update([group(one.attempts[0], one.attempts[2])])
    second.estimator = Given((-1.0, -2.0))
    second.update([group(one.attempts[1], one.attempts[3])])
    torch.testing.assert_close(weights(learner), weights(by_hand), atol=1e-6, rtol=0)


def test_there_are_no_more_minibatches_than_rows(model):
    groups, estimator = pair(model, 1.0, -1.0)
    trainer = Trainer(copy.deepcopy(model), estimator, optimization=Optimization(minibatches=9))
    trainer.update([groups])
    assert trainer.steps == 2


def test_two_tracks_of_half_weight_are_one_track(model):
    one = ragged_group(model)
    advantages = (1.0, -1.0, 2.0, -2.0)
    single, _ = trained(model, [one], Given(advantages))
    double, _ = trained(model, [one], Given(advantages, tracks=2))
    torch.testing.assert_close(weights(single), weights(double), atol=1e-6, rtol=0)


def test_a_minibatch_in_which_every_track_is_off_has_no_loss(model):
    groups, _ = pair(model)
    estimator = Given((1.0, 1.0), only_attempt=0)
    _, metrics = trained(model, [groups], estimator, minibatches=2)
    assert np.isfinite(metrics["loss"])


def test_an_estimator_that_compares_over_the_batch_is_given_all_of_it(model):
    class OverTheBatch(Given):
        def batch(self, groups):
            seen.append(len(groups))
            return [self(group) for group in groups]

    seen = []
    groups, _ = pair(model)
    trained(model, [groups, groups, groups], OverTheBatch((1.0, -1.0)))
    assert seen == [3]


def test_a_trainer_that_is_given_its_state_back_goes_on_bit_for_bit(model):
    telling = [ragged_group(model, seed) for seed in range(3)]
    silent, _ = pair(model)
    options = Optimization(learning_rate=1e-3, warmup=6, minibatches=2)

    def run(trainer, updates):
        for groups in updates:
            trainer.update([groups])
        return trainer

    whole = run(Trainer(copy.deepcopy(model), Grpo(), optimization=options), [silent, *telling])
    first = run(Trainer(copy.deepcopy(model), Grpo(), optimization=options), [silent, *telling[:2]])
    resumed = Trainer(copy.deepcopy(first.model), Grpo(), optimization=options)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    run(resumed, telling[2:])
    assert torch.equal(weights(whole.model), weights(resumed.model))
    assert whole.steps == resumed.steps == 6


def test_the_model_is_left_ready_to_sample(model):
    groups, estimator = pair(model, 1.0, float("nan"))
    trainer = Trainer(model, estimator)
    with pytest.raises(TrainingError):
        trainer.update([groups])
    assert not model.training

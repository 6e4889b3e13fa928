"""Attempts of another policy than the one that is trained: what is made of them."""

import copy

import pytest
import torch
from rollout_records import attempt, group, step
from test_trainer import PROMPT, Given, probabilities, weights

from agents.losses import CORRECTIONS, Bounds, Correction, Objective
from agents.trainer import Optimization, Trainer

TOKENS, CREDIT = (50, 60), (1.0, -1.0)


class Stopped(Trainer):
    """Keeps the gradient in place of applying it."""

    def apply_gradients(self):
        self.gradient = torch.cat([p.grad.flatten() for p in self.model.parameters()])
        return 0.0


def gradient(model, behaviour, correction, advantages=CREDIT, **options):
    """The gradient of the loss on one attempt that says token 50 and one that says token 60.

    `behaviour` are the probabilities with which the sampler said them.
    """
    attempts = [
        attempt(step(PROMPT, [token], logprobs=[torch.tensor(chance).log().item()]))
        for token, chance in zip(TOKENS, behaviour, strict=True)
    ]
    objective = Objective(correction=correction, **options)
    trainer = Stopped(copy.deepcopy(model), Given(advantages), objective)
    metrics = trainer.update([group(*attempts)])
    return trainer.gradient, metrics


def expected(model, factors):
    """-sum of factor x credit x the gradient of log p over the two tokens."""
    learner = copy.deepcopy(model)
    logits = learner(torch.tensor([PROMPT])).logits[0, -1].log_softmax(-1)
    loss = -sum(f * c * logits[t] for f, c, t in zip(factors, CREDIT, TOKENS, strict=True))
    loss.backward()
    return torch.cat([p.grad.flatten() for p in learner.parameters()])


def close(a, b):
    return torch.allclose(a, b, atol=1e-6 + 1e-4 * float(b.abs().max()))


def test_truncated_importance_sampling_gives_the_gradient_of_the_policy_that_is_trained(model):
    # the sampler said either token half of the time; the gradient of the expected credit under
    # the policy itself weighs them by the policy's own probabilities
    chances = probabilities(model, *TOKENS).tolist()
    true = expected(model, chances)
    corrected, metrics = gradient(model, (0.5, 0.5), CORRECTIONS["tis"])
    assert close(corrected, true)
    assert metrics["weight"] == pytest.approx(sum(chances), rel=1e-3)
    assert metrics["kl_old"] == pytest.approx(0.0, abs=1e-5), "the ratio sees no mismatch"
    assert metrics["kl_rollout"] > 0.0
    # without weights the sampler's odds stay in; without a correction the clip cuts the bad token
    unweighted, _ = gradient(model, (0.5, 0.5), CORRECTIONS["proximal"])
    assert close(unweighted, expected(model, (0.5, 0.5))) and not close(unweighted, true)
    clipped, plain = gradient(model, (0.5, 0.5), None)
    assert close(clipped, expected(model, (chances[0], 0.0))) and not close(clipped, true)
    assert "weight" not in plain


def test_a_weight_above_the_cap_is_cut_to_it_and_above_a_bound_of_a_mask_it_is_zero(model):
    # the sampler found token 50 eight times less likely than the policy does
    first, second = probabilities(model, *TOKENS).tolist()
    behaviour = (first / 8, second)
    cut, _ = gradient(model, behaviour, CORRECTIONS["tis"])
    assert close(cut, expected(model, (2.0 / 2, 1.0 / 2)))
    masked, metrics = gradient(model, behaviour, CORRECTIONS["areal"])
    assert close(masked, expected(model, (0.0, 1.0 / 2)))
    assert metrics["weight_zero"] == 0.5


def test_the_policy_before_the_update_stays_the_anchor_of_every_minibatch(model):
    # both minibatches raise the same token; the second finds it above the clip of the first policy
    attempts = [attempt(step(PROMPT, [50], logprobs=[-9.0])) for _ in range(2)]
    optimization = Optimization(learning_rate=1e-2, warmup=0, minibatches=2)
    bounds = Bounds(0.2, 1e-4)

    def run(minibatches):
        objective = Objective(bounds=bounds, correction=CORRECTIONS["proximal"])
        trainer = Trainer(copy.deepcopy(model), Given((1.0, 1.0)), objective, optimization)
        return trainer, trainer.update([group(*attempts)])

    trainer, metrics = run(2)
    assert trainer.steps == 2
    # no bound in the first step, where the ratio is 1; the second is above it: a mean of one half
    assert metrics["clip_fraction"] == pytest.approx(0.5)
    assert metrics["kl_old"] < 0.0


@pytest.mark.parametrize("name", CORRECTIONS)
def test_a_policy_that_samples_itself_is_trained_alike_with_every_correction(model, name):
    chances = probabilities(model, *TOKENS).tolist()
    corrected, _ = gradient(model, chances, CORRECTIONS[name])
    assert close(corrected, expected(model, (0.5, 0.5)))


def test_the_token_budget_does_not_change_a_correction(model):
    attempts = [
        attempt(step(PROMPT, [50, 51], logprobs=[-5.0, -6.0]), step([30], [61])),
        attempt(step(PROMPT, [60], logprobs=[-4.0])),
    ]
    after = []
    for budget in (1, 10_000):
        objective = Objective(correction=Correction("sequence", normalize=True))
        options = Optimization(1e-3, warmup=0, token_budget=budget)
        trainer = Trainer(copy.deepcopy(model), Given(CREDIT), objective, options)
        metrics = trainer.update([group(*attempts)])
        assert metrics["weight"] > 0
        after.append(weights(trainer.model))
    torch.testing.assert_close(*after, atol=3e-5, rtol=0)

"""Optimisers step every trained parameter once, and go on exactly where they were saved."""

import copy

import pytest
import torch

from agents.optim import OPTIMIZERS

BETAS = (0.9, 0.95)


def gradients(model, seed):
    draws = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn(parameter.shape, generator=draws)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("name", OPTIMIZERS)
class TestEveryOptimizer:
    def test_every_trained_parameter_belongs_to_one_part(self, name, model):
        frozen = next(iter(model.parameters())).requires_grad_(False)
        optimizer = OPTIMIZERS[name](model, BETAS, 0.0)
        held = [id(p) for part in optimizer.parts for g in part.param_groups for p in g["params"]]
        assert sorted(held) == sorted(id(p) for p in model.parameters() if p is not frozen)

    def test_a_step_moves_every_parameter_at_its_rate_and_clears_gradients(self, name, model):
        optimizer = OPTIMIZERS[name](model, BETAS, 0.0)
        before = [parameter.detach().clone() for parameter in model.parameters()]
        gradients(model, 0)
        optimizer.step(0.01)
        for old, new in zip(before, model.parameters(), strict=True):
            moved = (new.detach() - old).pow(2).mean().sqrt()
            assert 1e-3 < moved < 2e-2  # about the rate, for Muon's matrices too
            assert new.grad is None

    def test_a_rate_of_zero_changes_nothing(self, name, model):
        optimizer, before = OPTIMIZERS[name](model, BETAS, 0.1), weights(model)
        gradients(model, 0)
        optimizer.step(0.0)
        assert torch.equal(weights(model), before)

    def test_a_restored_state_goes_on_exactly(self, name, model):
        other = copy.deepcopy(model)
        whole, first = (OPTIMIZERS[name](m, BETAS, 0.1) for m in (model, other))
        for seed in range(4):
            gradients(model, seed)
            whole.step(0.01)
        for seed in range(2):
            gradients(other, seed)
            first.step(0.01)
        second = OPTIMIZERS[name](other, BETAS, 0.1)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        for seed in range(2, 4):
            gradients(other, seed)
            second.step(0.01)
        assert torch.equal(weights(model), weights(other))


def test_muon_takes_the_matrices_of_hidden_layers_and_leaves_the_vocabulary_to_adamw(model):
    matrices, others = OPTIMIZERS["muon"](model, BETAS, 0.0).parts
    embedding = model.get_input_embeddings().weight
    assert isinstance(matrices, torch.optim.Muon)
    assert all(p.ndim == 2 and p is not embedding for p in matrices.param_groups[0]["params"])
    assert any(p is embedding for p in others.param_groups[0]["params"])


@pytest.mark.parametrize("name", OPTIMIZERS)
class TestWeightsInBf16:
    def test_steps_that_bf16_would_lose_add_up(self, name, model):
        learner = copy.deepcopy(model).to(torch.bfloat16)
        optimizer, before = OPTIMIZERS[name](learner, BETAS, 0.0), weights(learner)
        norms = [p for p in learner.parameters() if p.ndim == 1]  # they are 1: neighbours at 1/128
        for _ in range(40):
            for parameter in learner.parameters():
                parameter.grad = torch.ones_like(parameter)
            optimizer.step(1e-3)
        assert all(p.dtype == torch.bfloat16 and p.grad is None for p in learner.parameters())
        assert not torch.equal(weights(learner), before)
        for parameter in norms:  # AdamW moves each by its rate: 1 - 40 x 1e-3, rounded
            torch.testing.assert_close(
                parameter, torch.full_like(parameter, 0.96), atol=4e-3, rtol=0
            )

    def test_a_restored_state_goes_on_exactly(self, name, model):
        whole = copy.deepcopy(model).to(torch.bfloat16)
        first = OPTIMIZERS[name](whole, BETAS, 0.1)
        gradients_in_bf16(whole, 0)
        first.step(1e-3)
        other, state = copy.deepcopy(whole), copy.deepcopy(first.state_dict())
        second = OPTIMIZERS[name](other, BETAS, 0.1)
        second.load_state_dict(state)
        for seed in (1, 2):
            for learner, optimizer in ((whole, first), (other, second)):
                gradients_in_bf16(learner, seed)
                optimizer.step(1e-3)
        for one, two in zip(first.copies, second.copies, strict=True):
            assert torch.equal(one[1], two[1]) and torch.equal(one[0], two[0])


def gradients_in_bf16(model, seed):
    draws = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        drawn = torch.randn(parameter.shape, generator=draws)
        parameter.grad = drawn.to(torch.bfloat16)

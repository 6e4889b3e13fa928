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

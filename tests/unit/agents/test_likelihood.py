"""Log-probabilities and entropies of given tokens."""

import pytest
import torch

from agents import likelihood
from agents.likelihood import token_logprobs

IDS = torch.tensor([[30, 41, 52, 63, 74, 85], [90, 81, 72, 63, 0, 0]])
MASK = torch.tensor([[0, 1, 1, 0, 0, 1], [0, 0, 1, 1, 0, 0]], dtype=torch.float32)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_they_are_the_log_softmax_of_the_full_logits(model, temperature):
    with torch.no_grad():
        logprobs_BT, entropy_BT = token_logprobs(model, IDS, MASK, temperature)
        full_BTV = torch.log_softmax(model(IDS).logits / temperature, dim=-1)
    expected_BT = torch.zeros_like(MASK)
    expected_entropy_BT = torch.zeros_like(MASK)
    for row, place in MASK.nonzero().tolist():
        logprobs_V = full_BTV[row, place - 1]
        expected_BT[row, place] = logprobs_V[IDS[row, place]]
        expected_entropy_BT[row, place] = -(logprobs_V.exp() * logprobs_V).sum()
    torch.testing.assert_close(logprobs_BT, expected_BT, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(entropy_BT, expected_entropy_BT, atol=1e-5, rtol=1e-5)


def test_a_temperature_of_zero_is_read_as_one(model):
    with torch.no_grad():
        zero, one = token_logprobs(model, IDS, MASK, 0.0), token_logprobs(model, IDS, MASK, 1.0)
    assert torch.equal(zero[0], one[0])


def test_padding_and_other_rows_do_not_matter(model):
    with torch.no_grad():
        both_BT, _ = token_logprobs(model, IDS, MASK)
        alone_BT, _ = token_logprobs(model, IDS[1:, :4], MASK[1:, :4])
        other = IDS.clone()
        other[1, 4:] = 99
        padded_BT, _ = token_logprobs(model, other, MASK)
    torch.testing.assert_close(both_BT[1:, :4], alone_BT, atol=1e-5, rtol=0)
    torch.testing.assert_close(both_BT, padded_BT, atol=0, rtol=0)


def test_later_tokens_do_not_matter(model):
    later = IDS.clone()
    later[0, 3:] = 17
    with torch.no_grad():
        one_BT, _ = token_logprobs(model, IDS, MASK)
        two_BT, _ = token_logprobs(model, later, MASK)
    torch.testing.assert_close(one_BT[0, :3], two_BT[0, :3], atol=1e-6, rtol=0)
    assert one_BT[0, 5] != two_BT[0, 5]


def test_a_step_along_the_gradient_makes_the_tokens_likelier(model):
    logprobs_BT, entropy_BT = token_logprobs(model, IDS, MASK)
    assert not entropy_BT.requires_grad
    logprobs_BT.sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            assert parameter.grad is not None and parameter.grad.any()
            parameter += 1e-5 * parameter.grad
        after_BT, _ = token_logprobs(model, IDS, MASK)
    assert after_BT.sum() > logprobs_BT.sum()


def test_the_entropy_of_a_model_that_knows_nothing_is_that_of_a_fair_die(model):
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
        logprobs_BT, entropy_BT = token_logprobs(model, IDS, MASK)
    fair = torch.log(torch.tensor(float(model.config.vocab_size)))
    torch.testing.assert_close(entropy_BT, fair * MASK)
    torch.testing.assert_close(logprobs_BT, -fair * MASK)


def test_without_a_sampled_token_everything_is_zero(model):
    logprobs_BT, entropy_BT = token_logprobs(model, IDS, torch.zeros_like(MASK))
    assert not logprobs_BT.any() and not entropy_BT.any()


def test_a_vocabulary_projected_in_parts_gives_the_same_numbers_and_gradients(model, monkeypatch):
    results = []
    for limit in (likelihood._LOGITS, 2 * model.config.vocab_size):  # five tokens: 2, 2 and 1
        monkeypatch.setattr(likelihood, "_LOGITS", limit)
        model.zero_grad()
        logprobs_BT, entropy_BT = token_logprobs(model, IDS, MASK, 0.7)
        (logprobs_BT * torch.arange(6)).sum().backward()
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        results.append([logprobs_BT.detach(), entropy_BT, *gradients])
    for whole, parts in zip(*results, strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)

"""Mixed precision is chosen by the hardware, and leaves nothing behind."""

import pytest
import torch

from agents import precision
from agents.attention import NAME


def test_what_is_asked_for_is_what_one_gets():
    assert precision.resolve("fp32", torch.device("cpu")) == "fp32"
    assert precision.resolve("bf16", torch.device("cpu")) == "bf16"
    assert precision.resolve("auto", torch.device("cpu")) in ("fp32", "bf16")


def test_an_unknown_precision_is_told_with_what_there_is():
    with pytest.raises(ValueError, match=r"expected one of \('auto', 'fp32', 'bf16'\), got 'fp8'"):
        precision.resolve("fp8", torch.device("cpu"))


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_a_block_of_training_sees_weights_as_they_change(model, name):
    ids = torch.tensor([[5, 6, 7]])
    with precision.training(model, name), torch.no_grad():
        assert model.training
        before = model(ids).logits
        for parameter in model.parameters():
            parameter.mul_(1.5)
        assert not torch.equal(model(ids).logits, before)


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_the_block_computes_in_the_precision_and_keeps_the_weights(model, name):
    dtypes = []
    model.model.layers[0].mlp.register_forward_hook(lambda *call: dtypes.append(call[2].dtype))
    with precision.training(model, name):
        model(torch.tensor([[5, 6, 7]]))
    assert dtypes == [torch.float32 if name == "fp32" else torch.bfloat16]
    assert model.dtype == torch.float32


def test_attention_and_mode_come_back_even_after_an_error(model):
    attention = model.config._attn_implementation
    with pytest.raises(RuntimeError, match="boom"), precision.training(model):
        assert model.config._attn_implementation == NAME
        raise RuntimeError("boom")
    assert model.config._attn_implementation == attention == "sdpa"
    assert not model.training

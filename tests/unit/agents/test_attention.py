"""Rows that share their beginning: the same states, numbers and gradients as whole rows."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_records import attempt, group, step
from transformers import Qwen3Config, Qwen3ForCausalLM

from agents import attention
from agents.attention import additive, beginnings, takes_keys
from agents.batch import assemble
from agents.credit import Track
from agents.likelihood import token_logprobs
from agents.losses import Objective
from agents.trainer import Optimization, Trainer

PROMPTS = ([20, 21, 22, 23, 24], [30, 31, 32])


def ones(group):
    return (Track([np.ones(len(a.steps)) for a in group.attempts]),)


def batch_of(*groups):
    return assemble(groups, [ones(found) for found in groups])


def two_groups(*more):
    """Two prompts of different length; turns and observations of several lengths."""
    first = group(
        attempt(step(PROMPTS[0], [50, 51, 52])),
        attempt(step(PROMPTS[0], [60]), step([70, 71], [61, 62])),
        attempt(step(PROMPTS[0], [50, 53])),
    )
    second = group(attempt(step(PROMPTS[1], [80, 81])), attempt(step(PROMPTS[1], [82])))
    return batch_of(first, second, *more)


@pytest.fixture(params=["eager", "sdpa"])
def reader(model, request):
    model.set_attn_implementation(request.param)
    return model


def with_gradient(model, batch, group_B=None):
    """Log-probabilities, entropies and the gradient of a weighted sum."""
    model = copy.deepcopy(model)
    found = token_logprobs(model, batch.token_ids_BT, batch.mask_BT, 0.7, group_B)
    weights = torch.linspace(-1, 2, found[0].numel()).view_as(found[0])
    (found[0] * weights).sum().backward()
    return *(values.detach() for values in found), [p.grad for p in model.parameters()]


def same(one, other):
    torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [4, 0, 3, 2], [1, 2], [0, 3, 4]])
def test_shared_beginnings_change_neither_numbers_nor_gradients(reader, rows, monkeypatch):
    part = two_groups().rows(rows)
    calls = []
    plain = with_gradient(reader, part)
    true = attention.states_before
    monkeypatch.setattr(
        "agents.likelihood.states_before", lambda *a: calls.append(1) or true(*a)
    )
    same(plain, with_gradient(reader, part, part.group_B))
    assert calls


def test_what_is_computed_is_computed_once(reader):
    """The tokens that run through the first layer: each prompt once, without its last token."""
    seen = []
    reader.get_decoder().layers[0].register_forward_hook(
        lambda _, inputs, __: seen.append(tuple(inputs[0].shape[:2]))
    )
    batch = two_groups()
    token_logprobs(reader, batch.token_ids_BT, batch.mask_BT, 1.0, batch.group_B)
    assert seen == [(2, 4), (5, 5)]  # rows begin with the prompt's last token


def test_the_beginning_ends_before_what_predicts_a_sampled_token():
    batch = two_groups()
    found = beginnings(batch.token_ids_BT, batch.mask_BT, batch.group_B)
    assert found.group_B.tolist() == [0, 0, 0, 1, 1] and found.first_G.tolist() == [0, 3]
    assert found.length_G.tolist() == [4, 2] and found.saved == 2 * 4 + 1 * 2


def test_prompts_that_differ_share_what_they_have_in_common():
    other = group(attempt(step([20, 21, 9, 9], [1])), attempt(step([20, 21, 8, 8], [1])))
    batch = batch_of(other)
    found = beginnings(batch.token_ids_BT, batch.mask_BT, batch.group_B)
    assert found.length_G.tolist() == [2]


def test_rows_without_anything_in_common_or_anything_sampled_share_nothing(model):
    other = group(attempt(step([20, 21, 9], [1])), attempt(step([30, 21, 9], [1])))
    batch = batch_of(other)
    assert beginnings(batch.token_ids_BT, batch.mask_BT, batch.group_B).saved == 0
    silent = torch.zeros_like(batch.mask_BT)
    assert beginnings(batch.token_ids_BT, silent, torch.zeros(2, dtype=torch.long)).saved == 0
    found_BT, _ = token_logprobs(model, batch.token_ids_BT, silent, 1.0, batch.group_B)
    assert not found_BT.any()


prompts = st.lists(st.integers(1, 99), min_size=1, max_size=9)
turns = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=3)
groups_of_turns = st.lists(
    st.tuples(prompts, st.lists(turns, min_size=1, max_size=4)), min_size=1, max_size=3
)


@settings(deadline=None, max_examples=40)
@given(groups_of_turns, st.integers(0, 99))
def test_any_groups_have_the_log_probabilities_of_whole_rows(found, seed):
    reader = _small(seed % 2)
    draw = torch.Generator().manual_seed(seed)

    def some(count):
        return torch.randint(1, 99, (count,), generator=draw).tolist()

    batch = batch_of(*(
        group(*(
            attempt(*(
                step(prompt if place == 0 else some(heard), some(said))
                for place, (said, heard) in enumerate(spoken)
            ))
            for spoken in attempts
        ))
        for prompt, attempts in found
    ))  # fmt: skip
    with torch.no_grad():
        plain = token_logprobs(reader, batch.token_ids_BT, batch.mask_BT)
        same(plain, token_logprobs(reader, batch.token_ids_BT, batch.mask_BT, 1.0, batch.group_B))


_MODELS = {}


def _small(kind):
    if kind not in _MODELS:
        config = Qwen3Config(
            vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8, initializer_range=0.3,
        )  # fmt: skip
        _MODELS[kind] = Qwen3ForCausalLM(config).eval()
        _MODELS[kind].set_attn_implementation(("eager", "sdpa")[kind])
    return _MODELS[kind]


def test_who_cannot_take_keys_computes_whole_rows(model):
    assert takes_keys(model)
    model.gradient_checkpointing_enable()
    assert takes_keys(model.eval()) and not takes_keys(model.train())
    model.gradient_checkpointing_disable()
    model.config.layer_types = ["full_attention", "sliding_attention"]
    assert not takes_keys(model)
    model.config.layer_types = ["full_attention"]
    model.config._attn_implementation = "flash_attention_2"
    assert not takes_keys(model)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_update_is_that_of_whole_rows(model, precision, monkeypatch):
    made = [
        group(*(
            attempt(step(PROMPTS[number], [50 + place, 51], outcome=float(place % 2)))
            for place in range(4)
        ))
        for number in (0, 1)
    ]  # fmt: skip

    def updated():
        learner = copy.deepcopy(model)
        trainer = Trainer(
            learner, _signs, Objective(), Optimization(1e-2, warmup=0, precision=precision)
        )
        metrics = trainer.update(made)
        return learner, metrics

    (shared, one), calls = updated(), []
    monkeypatch.setattr("agents.likelihood.takes_keys", lambda _: calls.append(1) and False)
    monkeypatch.setattr("agents.trainer.takes_keys", lambda _: False)
    whole, other = updated()
    assert calls
    for name in ("loss", "grad_norm", "entropy"):
        assert one[name] == pytest.approx(other[name], rel=1e-4 if precision == "fp32" else 0.05)
    if precision == "fp32":
        for mine, theirs in zip(shared.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=0)


def _signs(found):
    return (Track([np.array([2.0 * outcome - 1.0]) for outcome in found.outcome_G]),)


def test_a_mask_is_added_to_the_scores():
    mask = torch.tensor([[True, False]])
    for dtype in (torch.float32, torch.bfloat16):
        found = additive(mask, dtype)
        assert found.dtype == dtype and found.tolist()[0] == [0.0, torch.finfo(dtype).min]

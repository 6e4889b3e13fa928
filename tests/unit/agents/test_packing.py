"""Packed rows: the same numbers and gradients as whole rows, and no token computed twice."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_records import attempt, group, step
from transformers import AutoConfig, AutoModelForCausalLM

from agents import precision
from agents.batch import assemble
from agents.credit import Track
from agents.likelihood import token_logprobs
from agents.losses import Objective
from agents.packing import PLAIN, is_plain, pack, packs
from agents.pretrained import checkpoint_activations
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


def small(kind, seed=0):
    """A model of a type, with fewer heads of keys than heads."""
    config = AutoConfig.for_model(
        kind, vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, initializer_range=0.3,
        moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2,
        sliding_window=8 if kind == "gemma2" else None, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, no_rope_layers=[1, 0],
    )  # fmt: skip
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config).eval()


def whole(monkeypatch):
    """From here on nothing is packed."""
    monkeypatch.setattr("agents.likelihood.packs", lambda _: False)


def with_gradient(model, batch, group_B=None):
    """Log-probabilities, entropies and the gradient of a weighted sum."""
    model = copy.deepcopy(model)
    found = token_logprobs(model, batch.token_ids_BT, batch.mask_BT, 0.7, group_B)
    weights = torch.linspace(-1, 2, found[0].numel()).view_as(found[0])
    (found[0] * weights).sum().backward()
    return *(values.detach() for values in found), [p.grad for p in model.parameters()]


def same(one, other):
    torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [4, 0, 3, 2], [1, 2], [0, 3, 4], [3]])
def test_packed_rows_have_the_numbers_and_gradients_of_whole_rows(model, rows, monkeypatch):
    part = two_groups().rows(rows)
    alone, shared = with_gradient(model, part), with_gradient(model, part, part.group_B)
    whole(monkeypatch)
    plain = with_gradient(model, part)
    same(alone, plain)
    same(shared, plain)


@pytest.mark.parametrize("kind", PLAIN)
def test_every_plain_type_packs(kind, monkeypatch):
    model, batch = small(kind), two_groups()
    assert packs(model)
    shared = with_gradient(model, batch, batch.group_B)
    whole(monkeypatch)
    plain = with_gradient(model, batch)
    same(shared[:2], plain[:2])
    for mine, theirs in zip(shared[2], plain[2], strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-4, rtol=1e-3)
    assert float(shared[0].std()) > 0.1  # the tokens are told apart


def test_what_is_computed_is_computed_once(model):
    """The tokens that run through the first layer: no padding, each prompt once."""
    seen = []
    model.get_decoder().layers[0].register_forward_hook(
        lambda _, inputs, __: seen.append(tuple(inputs[0].shape[:2]))
    )
    batch = two_groups()
    token_logprobs(model, batch.token_ids_BT, batch.mask_BT, 1.0, batch.group_B)
    # prompts without their last token; rows from there on without the last sampled one
    assert seen == [(1, 4 + 3 + 5 + 2 + 2 + 2 + 1)]


def packed(batch):
    return pack(batch.token_ids_BT[:, :-1], batch.mask_BT[:, 1:] > 0, batch.group_B)


def spans(packing):
    """The sizes of pieces, as they lie, each with that of the beginning that it sees."""
    placed = [(*span, some.shared) for some in packing.pieces for span in some.spans]
    return [(end - start, shared) for start, end, shared in sorted(placed)]


def test_pieces_by_hand():
    found = packed(two_groups())
    assert spans(found) == [(4, 0), (3, 4), (5, 4), (2, 4), (2, 0), (2, 2), (1, 2)]
    assert found.token_ids_N.tolist() == [
        20, 21, 22, 23, 24, 50, 51, 24, 60, 70, 71, 61, 24, 50, 30, 31, 32, 80, 32,
    ]  # fmt: skip
    assert found.position_ids_N.tolist() == [
        0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8, 4, 5, 0, 1, 2, 3, 2,
    ]  # fmt: skip
    assert found.place_W.tolist() == [4, 5, 6, 7, 10, 11, 12, 13, 16, 17, 18]


def test_prompts_that_differ_share_what_they_have_in_common():
    other = group(attempt(step([20, 21, 9, 9], [1])), attempt(step([20, 21, 8, 8], [1])))
    assert spans(packed(batch_of(other))) == [(2, 0), (2, 2), (2, 2)]
    apart = group(attempt(step([20, 21, 9], [1])), attempt(step([30, 21, 9], [1])))
    assert spans(packed(batch_of(apart))) == [(3, 0), (3, 0)]
    alone = group(attempt(step([20, 21, 9], [1])))
    assert spans(packed(batch_of(alone))) == [(3, 0)]


def test_rows_without_anything_sampled_are_left_out(model):
    silent = two_groups(group(attempt(step([9, 8, 7], [])), attempt(step([9, 8, 7], [6]))))
    assert [size for size, _ in spans(packed(silent))] == [4, 3, 5, 2, 2, 2, 1, 3]
    nothing = torch.zeros_like(silent.mask_BT)
    found_BT, _ = token_logprobs(model, silent.token_ids_BT, nothing, 1.0, silent.group_B)
    assert not found_BT.any()


prompts = st.lists(st.integers(1, 99), min_size=1, max_size=9)
turns = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=3)
groups_of_turns = st.lists(
    st.tuples(prompts, st.lists(turns, min_size=1, max_size=4)), min_size=1, max_size=3
)


@settings(deadline=None, max_examples=40)
@given(groups_of_turns, st.integers(0, 99), st.sampled_from(["qwen3", "llama"]))
def test_any_groups_have_the_log_probabilities_of_whole_rows(found, seed, kind):
    reader = _MODELS.setdefault(kind, small(kind))
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
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        shared = token_logprobs(reader, batch.token_ids_BT, batch.mask_BT, 1.0, batch.group_B)
        whole(patch)
        same(shared, token_logprobs(reader, batch.token_ids_BT, batch.mask_BT))


_MODELS = {}


def test_who_cannot_be_packed_computes_whole_rows(model):
    assert is_plain(model) and not is_plain(torch.nn.Linear(1, 1))
    for name, value in (
        ("layer_types", ["full_attention", "sliding_attention"]),
        ("sliding_window", 8),
        ("attention_dropout", 0.1),
        ("model_type", "gemma2"),
    ):
        other = copy.deepcopy(model)
        setattr(other.config, name, value)
        assert not is_plain(other) and not packs(other)
    other = small("gemma2")
    batch = two_groups()
    with torch.no_grad():
        shared = token_logprobs(other, batch.token_ids_BT, batch.mask_BT, 1.0, batch.group_B)
        same(shared, token_logprobs(other, batch.token_ids_BT, batch.mask_BT))


def test_what_is_computed_again_is_computed_by_pieces_again(model, monkeypatch):
    batch = two_groups()
    checkpoint_activations(model)
    assert packs(model) and not packs(model.train())  # what comes again would attend otherwise
    with precision.training(model, "fp32"):
        assert packs(model)
        found = with_gradient(model, batch, batch.group_B)
    whole(monkeypatch)
    model.gradient_checkpointing_disable()
    same(found, with_gradient(model, batch))


def test_attention_is_left_as_it_was(model):
    before, ids = model.config._attn_implementation, torch.tensor([[5, 6, 7]])
    plain = model(ids).logits
    batch = two_groups()
    token_logprobs(model, batch.token_ids_BT, batch.mask_BT)
    with pytest.raises(IndexError):
        token_logprobs(model, batch.token_ids_BT + 10_000, batch.mask_BT)
    assert model.config._attn_implementation == before
    with precision.training(model, "fp32"):  # a pass that is not packed has PyTorch's attention
        torch.testing.assert_close(model(ids).logits, plain)


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

    shared, one = updated()
    whole(monkeypatch)
    alone, other = updated()
    for name in ("loss", "grad_norm", "entropy"):
        assert one[name] == pytest.approx(other[name], rel=1e-4 if precision == "fp32" else 0.05)
    if precision == "fp32":
        for mine, theirs in zip(shared.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=0)


def _signs(found):
    return (Track([np.array([2.0 * outcome - 1.0]) for outcome in found.outcome_G]),)

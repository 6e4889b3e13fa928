"""Prompts that rows share: what is read of them is what a row of its own would hold."""

import pytest
import torch

from agents.policies import decoding
from agents.policies.prompts import Prompts

LENGTHS, HOLDERS = (3, 5), (2, 3)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def prompts(model):
    """Two prompts, with keys and values in the first layer."""
    config, made = model.config, Prompts(model, 50)
    slots = [made.add(*found) for found in zip(LENGTHS, HOLDERS, strict=True)]
    columns = made.store.reserve(max(LENGTHS), rows=len(slots))
    places = torch.arange(max(LENGTHS)).expand(2, -1)
    shape = (2, config.num_key_value_heads, max(LENGTHS), config.head_dim)
    made.store.at(torch.tensor(slots), places, columns)
    made.store.update(drawn(*shape), drawn(*shape, seed=1), 0)
    return made


def test_slots_are_used_again_when_the_last_row_is_gone(model):
    made = Prompts(model, 50)
    assert [made.add(1, 2), made.add(2, 1)] == [0, 1]
    made.release(0)
    assert made.add(3, 1) == 2
    made.release(0)
    assert made.add(4, 1) == 0
    found = made.shared([2, 0, 1])
    assert found.length_B.tolist() == [3, 4, 2]


def test_rows_find_their_prompts_and_prompts_their_rows(prompts):
    found = prompts.shared([1, 0, 1, 1])
    assert found.slot_B.tolist() == [1, 0, 1, 1] and found.member_B.tolist() == [0, 0, 1, 2]
    assert found.rows_GM.tolist() == [[1, 0, 0], [0, 2, 3]]
    assert found.seen_BP()[:, :6].long().sum(dim=1).tolist() == [5, 3, 5, 5]
    assert found.seen_BP().long().sum(dim=1).tolist() == [5, 3, 5, 5]


@pytest.mark.parametrize("slots", [[0, 0, 1, 1, 1], [1, 0, 1], [1], [0, 1, 0, 1, 1, 0]])
def test_one_query_a_row_sees_what_a_row_of_its_own_would_hold(model, prompts, slots):
    """Beside PyTorch's fused attention over prompts copied before the rows' own columns."""
    config, rows, own = model.config, len(slots), 4
    layer = model.model.layers[0].self_attn
    query = drawn(rows, config.num_attention_heads, 1, config.head_dim, seed=2)
    keys = drawn(rows, config.num_key_value_heads, own, config.head_dim, seed=3)
    values = drawn(rows, config.num_key_value_heads, own, config.head_dim, seed=4)
    shared = prompts.shared(slots)
    sees = torch.arange(own) <= torch.arange(rows)[:, None].clamp(max=own - 1)
    mask = decoding.additive(torch.cat([shared.seen_BP(), sees], dim=1), torch.float32)
    given = (mask[:, None, None], 0.3)
    one, _ = decoding.attend(layer, query, keys, values, *given, shared=shared)
    copied = shared.before(0, keys, values)
    assert copied[0].shape[2] == prompts.store.keys[0].shape[2] + own
    two, _ = decoding.attend(layer, query, *copied, *given)
    fused = decoding.sdpa_attention_forward(layer, query, *copied, given[0], scaling=0.3)[0]
    torch.testing.assert_close(one, fused)
    torch.testing.assert_close(two, fused)
    several, _ = decoding.attend(
        layer, query.repeat(1, 1, 2, 1), keys, values,
        given[0].repeat(1, 1, 2, 1), 0.3, shared=shared,
    )  # fmt: skip
    torch.testing.assert_close(several, fused.repeat(1, 2, 1, 1))

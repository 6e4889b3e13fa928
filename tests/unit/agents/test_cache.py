"""The store of keys and values: what is written is read in one piece; growing loses nothing."""

import pytest
import torch

from agents.policies.cache import Rows


@pytest.fixture
def cache(model):
    return Rows(model, 4, 100)


def numbers(model, rows, tokens, seed=0):
    """Keys or values of some new tokens."""
    config = model.config
    shape = (rows, config.num_key_value_heads, tokens, config.head_dim)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("asked", "reserved"), [(1, 32), (32, 32), (33, 64), (97, 100)])
def test_columns_are_reserved_in_blocks_up_to_the_context(cache, asked, reserved):
    assert cache.reserve(asked) == reserved


def test_what_was_written_is_there_after_the_store_has_grown(model, cache):
    keys, values = numbers(model, 3, 5), numbers(model, 3, 5, seed=1)
    columns = cache.reserve(5)
    read = cache.at(slice(0, 3), torch.arange(5).repeat(3, 1), columns).update(keys, values, 0)
    assert torch.equal(read[0][:, :, :5], keys) and torch.equal(read[1][:, :, :5], values)
    columns = cache.reserve(50)
    late = numbers(model, 1, 1, seed=2)
    row, place = torch.tensor([1]), torch.tensor([[40]])
    found, _ = cache.at(row, place, columns).update(late, late, 0)
    assert found.shape[2] == 64 and torch.equal(found[:, :, 40:41], late)
    assert torch.equal(found[:, :, :5], keys[1:2]) and not found[:, :, 5:40].any()


def test_layers_and_rows_do_not_see_each_other(model, cache):
    columns, places = cache.reserve(2), torch.tensor([[0, 1]])
    one, other = numbers(model, 1, 2), numbers(model, 1, 2, seed=1)
    cache.at(slice(0, 1), places, columns).update(one, one, 0)
    cache.at(slice(1, 2), places, columns).update(other, other, 0)
    found, _ = cache.at(slice(0, 1), places, columns).update(one, one, 1)
    assert torch.equal(found[:, :, :2], one)
    cache.copy(0, [2, 3], 1)
    both, _ = cache.at(slice(0, 4), torch.full((4, 1), 31), columns).update(
        numbers(model, 4, 1), numbers(model, 4, 1), 0
    )
    assert torch.equal(both[1:2, :, :2], other)
    assert torch.equal(both[2, :, 0], one[0, :, 0]) and not both[2, :, 1].any()


def test_what_is_read_lies_in_one_piece(model, cache):
    """PyTorch copies it else, for every token, before a product in bf16."""
    for asked in (20, 40):
        columns = cache.reserve(asked)
        new = numbers(model, 2, 1)
        read = cache.at(slice(0, 2), torch.full((2, 1), asked - 1), columns).update(new, new, 0)
        assert all(found.is_contiguous() for found in read)


@pytest.mark.parametrize("length", [1, 31, 32])
def test_a_row_is_copied_up_to_any_length(model, cache, length):
    columns, new = cache.reserve(32), numbers(model, 1, length)
    cache.at(slice(0, 1), torch.arange(length)[None], columns).update(new, new, 0)
    cache.copy(0, [1, 3], length)
    last = numbers(model, 4, 1)
    found, _ = cache.at(slice(0, 4), torch.full((4, 1), 31), columns).update(last, last, 0)
    kept = min(length, 31)
    for row in (1, 3):
        assert torch.equal(found[row, :, :kept], new[0, :, :kept])
    assert not found[2, :, :kept].any()


def test_the_store_grows_by_rows_and_columns(model):
    cache = Rows(model, 0, 100)
    assert cache.rows == 0
    columns, new = cache.reserve(5, rows=2), numbers(model, 2, 5)
    cache.at(torch.tensor([0, 1]), torch.arange(5).repeat(2, 1), columns).update(new, new, 0)
    assert cache.rows == 2 and cache.reserve(3, rows=1) == 32 and cache.rows == 2
    assert cache.reserve(3, rows=3) == 32 and cache.keys[0].shape[::2] == (3, 32)
    assert cache.reserve(40, rows=3) == 64 and cache.keys[0].shape[::2] == (3, 64)
    assert torch.equal(cache.values[0][:2, :, :5], new) and not cache.values[0][2].any()
    assert cache.reserve(1) == 32 and cache.keys[0].shape[2] == 64

"""Attention of the pieces of one sequence: each sees itself and its beginning, and nothing else."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import attention
from agents.attention import Pieces, attend, side_by_side

KINDS = {"by products": attention._Products.apply, "fused": attention._fused}


def test_pieces_of_about_one_length_that_see_the_same_attend_in_one_product():
    found = side_by_side([3, 20, 2, 18, 6, 6], [-1, 0, 0, 0, -1, 4])
    assert found == (
        Pieces(((43, 49),)),
        Pieces(((0, 3),)),
        Pieces(((3, 23), (25, 43)), (0, 3)),
        Pieces(((23, 25),), (0, 3)),
        Pieces(((49, 55),), (43, 49)),
    )
    assert found[2].longest == 20 and found[2].shared == 3 and found[0].shared == 0


@pytest.mark.parametrize(
    ("sizes", "together"),
    [((10, 10), 1), ((10, 8), 1), ((10, 7), 2), ((10, 7, 10), 1), ((10, 8, 8), 2), ((4,), 1)],
)
def test_padding_computes_no_more_than_1_3_scores_for_one(sizes, together):
    """By hand: 200 / 164 = 1.22, 200 / 149 = 1.34, 300 / 249 = 1.2 and 300 / 228 = 1.32."""
    assert len(side_by_side(sizes, [-1] * len(sizes))) == together


@pytest.mark.parametrize(("sizes", "together"), [((10, 7), 1), ((10, 6), 2)])
def test_a_beginning_counts_among_what_is_computed(sizes, together):
    """By hand, behind 10 tokens: 400 / 319 = 1.25 and 400 / 296 = 1.35."""
    assert len(side_by_side([10, *sizes], [-1, 0, 0])) == 1 + together


def parts(heads, shared, tokens, size=4, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [
        torch.randn(tokens, count, size, generator=draw, dtype=torch.float64)
        .transpose(0, 1)
        .requires_grad_()
        for count in (heads, shared, shared)
    ]


def by_hand(query, key, value, sizes, before):
    """Token after token, over what it sees."""
    repeats = len(query) // len(key)
    starts = [sum(sizes[:piece]) for piece in range(len(sizes))]
    found = []
    for start, size, seen in zip(starts, sizes, before, strict=True):
        shared = range(starts[seen], starts[seen] + sizes[seen]) if seen >= 0 else range(0)
        for token in range(start, start + size):
            sees = [*shared, *range(start, token + 1)]
            keys = key[:, sees].repeat_interleave(repeats, dim=0)
            values = value[:, sees].repeat_interleave(repeats, dim=0)
            chances = (query[:, token, None] * keys).sum(dim=-1).softmax(dim=-1)
            found.append((chances[:, :, None] * values).sum(dim=1))
    return torch.stack(found, dim=1)


lengths = st.integers(1, 9)
rows = st.tuples(lengths, st.lists(lengths, max_size=4))


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=30)
@given(st.lists(rows, min_size=1, max_size=3), st.sampled_from([(2, 2), (4, 2), (3, 1)]))
def test_each_token_sees_its_beginning_and_its_piece_so_far(kind, groups, heads):
    sizes, before = [], []
    for first, rests in groups:
        seen = len(sizes)
        sizes += [first, *rests]
        before += [-1, *(seen for _ in rests)]
    query, key, value = given = parts(*heads, sum(sizes))
    found = KINDS[kind](query, key, value, side_by_side(sizes, before))
    hand = by_hand(query, key, value, sizes, before)
    torch.testing.assert_close(found, hand)
    weights = torch.linspace(-1, 2, found.numel(), dtype=found.dtype).view(found.shape)
    for mine, theirs in zip(
        torch.autograd.grad((found * weights).sum(), given),
        torch.autograd.grad((hand * weights).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_the_interface_of_transformers():
    """Queries are scaled, by the width of a head unless another number is given."""
    given = [part.detach()[None] for part in parts(2, 2, 5)]
    module = SimpleNamespace(is_causal=True)
    whole = torch.nn.functional.scaled_dot_product_attention(*given, is_causal=True)
    pieces = side_by_side([5], [-1])
    for scaling in (None, 0.5):  # the width is 4
        found, nothing = attend(module, *given, None, scaling=scaling, pieces=pieces)
        torch.testing.assert_close(found, whole.transpose(1, 2))
        assert nothing is None
    other, _ = attend(module, *given, None, scaling=2.0, pieces=pieces)
    assert not torch.allclose(other, whole.transpose(1, 2))
    plain, _ = attend(module, *given, None, scaling=0.5)
    torch.testing.assert_close(plain, whole.transpose(1, 2))

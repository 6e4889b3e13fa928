"""Rows of tokens and the credit on them, by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_records import attempt, group, step

from agents.batch import assemble, token_rows
from agents.credit.base import Track

TWO_TURNS = attempt(
    step([1, 2], [3, 4], logprobs=[-0.1, -0.2]), step([5], [6, 7, 8], logprobs=[-1, -2, -3])
)
ONE_TURN = attempt(step([9], [10]))


def advantages(*attempts, mask=None, weight=1.0):
    """A track; one list of advantages per attempt."""
    ragged = tuple(np.array(values, dtype=float) for values in attempts)
    masks = None if mask is None else tuple(np.array(values, dtype=bool) for values in mask)
    return Track(ragged, masks, weight)


def test_rows_are_prompt_turn_observation_turn_padded_on_the_right():
    rows = token_rows([TWO_TURNS, ONE_TURN])
    assert rows.token_ids_BT.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 0, 0, 0, 0, 0, 0]]
    assert rows.mask_BT.tolist() == [[0, 0, 1, 1, 0, 1, 1, 1], [0, 1, 0, 0, 0, 0, 0, 0]]
    assert rows.turn_BT.tolist() == [[-1, -1, 0, 0, -1, 1, 1, 1], [-1, 0] + [-1] * 6]
    torch.testing.assert_close(
        rows.behaviour_BT[0], torch.tensor([0, 0, -0.1, -0.2, 0, -1, -2, -3])
    )
    assert rows.lengths_B.tolist() == [8, 2]


def test_a_tokens_advantage_is_its_steps():
    batch = assemble(
        [group(TWO_TURNS), group(ONE_TURN)], [(advantages([1.5, -2.0]),), (advantages([3.0]),)]
    )
    (track,) = batch.tracks
    assert track.advantages_BT.tolist() == [
        [0, 0, 1.5, 1.5, 0, -2, -2, -2],
        [0, 3, 0, 0, 0, 0, 0, 0],
    ]
    assert torch.equal(track.mask_BT, batch.mask_BT) and track.weight == 1.0


def test_two_tracks_cover_the_steps_that_their_masks_say():
    credit = (
        advantages([5.0, 6.0], [7.0], mask=[[True, False], [True]], weight=1.0),
        advantages([8.0, 9.0], [4.0], mask=[[False, True], [False]], weight=0.25),
    )
    first, second = assemble([group(TWO_TURNS, ONE_TURN)], [credit]).tracks
    assert first.advantages_BT.tolist() == [[0, 0, 5, 5, 0, 0, 0, 0], [0, 7, 0, 0, 0, 0, 0, 0]]
    assert first.mask_BT.tolist() == [[0, 0, 1, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]]
    assert second.advantages_BT.tolist() == [[0, 0, 0, 0, 0, 9, 9, 9], [0] * 8]
    assert second.mask_BT.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1], [0] * 8]
    assert (first.weight, second.weight) == (1.0, 0.25)


def test_what_a_mask_switches_off_may_be_anything():
    credit = (advantages([np.nan, 1.0], mask=[[False, True]]),)
    (track,) = assemble([group(TWO_TURNS)], [credit]).tracks
    assert track.advantages_BT.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1]]


def test_picked_rows_are_cut_to_the_longest_of_them():
    credits = [(advantages([1.0, 2.0]),), (advantages([3.0]),)]
    batch = assemble([group(TWO_TURNS), group(ONE_TURN)], credits)
    part = batch.rows([1])
    assert part.token_ids_BT.tolist() == [[9, 10]] and part.mask_BT.tolist() == [[0, 1]]
    assert part.turn_BT.tolist() == [[-1, 0]] and part.behaviour_BT.tolist() == [[0, -1]]
    assert part.tracks[0].advantages_BT.tolist() == [[0, 3]]
    assert batch.rows([1, 0]).token_ids_BT.tolist()[0] == [9, 10, 0, 0, 0, 0, 0, 0]


def test_the_observation_after_the_last_turn_is_not_part_of_a_row():
    late = attempt(step([1], [2]), step([3, 4, 5], []))
    assert token_rows([late]).lengths_B.tolist() == [2]
    assert token_rows([late]).rows([0]).token_ids_BT.tolist() == [[1, 2]]


lengths = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@settings(deadline=None)
@given(lengths, st.integers(1, 100))
def test_micro_batches_are_a_partition_within_the_budget(lengths, budget):
    batch = token_rows([attempt(step([], range(1, length + 1))) for length in lengths])
    parts = batch.micro_batches(budget)
    assert sorted(row for part in parts for row in part) == list(range(len(lengths)))
    for part in parts:
        padded = len(part) * max(lengths[row] for row in part)
        assert padded <= budget or len(part) == 1


def test_rows_of_like_length_go_together():
    batch = token_rows([attempt(step([], range(1, length + 1))) for length in (2, 9, 2, 9, 2)])
    assert batch.micro_batches(18) == [[1, 3], [0, 2, 4]]
    assert batch.micro_batches(17) == [[1], [3], [0, 2, 4]]


def packed(batch, budget):
    """Parts of packed rows, and the tokens of each with every prompt counted once."""
    parts = batch.micro_batches(budget, packed=True)
    lengths, prompts = batch.lengths_B.tolist(), batch.prompts_B.tolist()
    numbers, tokens = batch.group_B.tolist(), []
    for part in parts:
        heads = {numbers[row]: prompts[row] for row in part}
        tokens.append(sum(heads.values()) + sum(lengths[row] - prompts[row] for row in part))
    return parts, tokens


def groups_of(*sizes):
    """Groups on prompts of one token each, whose attempts are turns of these lengths."""
    groups = [group(*(attempt(step([1], [2] * length)) for length in found)) for found in sizes]
    ones = [(advantages(*([1.0] for _ in found)),) for found in sizes]
    return assemble(groups, ones)


sizes = st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=6), min_size=1, max_size=6)


@settings(deadline=None)
@given(sizes, st.integers(1, 60))
def test_packed_parts_are_a_partition_within_the_budget(found, budget):
    batch = groups_of(*found)
    parts, tokens = packed(batch, budget)
    assert sorted(row for part in parts for row in part) == list(range(len(batch.mask_BT)))
    for part, count in zip(parts, tokens, strict=True):
        assert count <= budget or len(part) == 1
    numbers = batch.group_B.tolist()
    for number, lengths in enumerate(found):
        if 1 + sum(lengths) <= budget:  # stays together
            assert sum(any(numbers[row] == number for row in part) for part in parts) == 1


def test_packed_parts_by_hand():
    batch = groups_of((4, 4), (9, 1), (2,), (3, 3))
    assert batch.micro_batches(11, packed=True) == [[2, 3], [0, 1], [5, 6, 4]]
    assert batch.micro_batches(23, packed=True) == [[2, 3, 0, 1, 4], [5, 6]]
    assert batch.micro_batches(6, packed=True) == [[2], [0], [1], [5, 3], [6], [4]]


@pytest.mark.parametrize(
    ("credits", "message"),
    [
        ([(advantages([1.0], [2.0]),)], r"task: the attempts have \[2, 1\] steps, .* \[1, 1\]"),
        ([(advantages([1.0, 2.0]),)], r"the advantages of track 0 \[2\]"),
        ([(advantages([1.0, 2.0], [3.0], [4.0]),)], r"the advantages of track 0 \[2, 1, 1\]"),
        ([(advantages([1.0, 2.0], [3.0], mask=[[True], [True]]),)], r"the mask of track 0"),
    ],
)
def test_credit_of_another_shape_than_the_attempts_is_refused(credits, message):
    with pytest.raises(ValueError, match=message):
        assemble([group(TWO_TURNS, ONE_TURN)], credits)


def test_groups_must_agree_on_their_tracks():
    groups, one = [group(ONE_TURN), group(ONE_TURN)], advantages([1.0])
    with pytest.raises(ValueError, match="the same number of tracks"):
        assemble(groups, [(one,), (one, one)])
    with pytest.raises(ValueError, match="track 0: expected one weight, got"):
        assemble(groups, [(one,), (advantages([1.0], weight=2.0),)])
    with pytest.raises(ValueError, match="zip"):
        assemble(groups, [(one,)])

"""What the benchmark of shared prompts gives both kinds."""

import pytest
import torch

from experiments.bench_prompts import Config, rows


def test_the_rows_of_a_group_begin_alike_and_differ_afterwards():
    batch = rows(Config(prompts=3, group=2), prompt=7, rest=6, vocabulary=50)
    assert batch.token_ids_BT.shape == (6, 13) and batch.group_B.tolist() == [0, 0, 1, 1, 2, 2]
    assert batch.prompts_B.tolist() == [7] * 6
    ids = batch.token_ids_BT
    for group in range(3):
        one, other = ids[2 * group], ids[2 * group + 1]
        assert torch.equal(one[:7], other[:7]) and not torch.equal(one[7:], other[7:])
    assert len({tuple(row) for row in ids[:, :7].tolist()}) == 3
    assert ((3 + 7 <= batch.lengths_B) & (batch.lengths_B <= 6 + 7)).all()
    assert (batch.mask_BT.sum(dim=1) == batch.lengths_B - 7).all()


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"threads": 0}, {"token_budget": 0}, {"size": "7B"}]
)
def test_what_cannot_be_measured_is_refused(wrong):
    with pytest.raises((ValueError, LookupError)):
        Config(**wrong)

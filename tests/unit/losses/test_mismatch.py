"""What a correction makes of the ratio of trainer to sampler, by hand."""

import math

import pytest
import torch

from agents.losses import CORRECTIONS, Correction, Objective, mismatch_metrics

torch.set_num_threads(1)

MASK = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
W = torch.tensor([[4.0, 0.25, 9.0], [8.0, 1.0, 1.0]])
"""w = proximal / behaviour: a row whose product and mean are 1, and one of product 8 and mean 2"""

PROXIMAL = torch.full((2, 3), -3.0)


def weights(correction):
    return correction.weights(PROXIMAL, PROXIMAL - W.log(), MASK)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("proximal", [[1, 1, 0], [1, 1, 1]]),
        ("tis", [[2, 0.25, 0], [2, 1, 1]]),
        ("sequence_tis", [[1, 1, 0], [2, 2, 2]]),
        ("mis", [[1, 1, 0], [0, 0, 0]]),
        ("icepop", [[4, 0, 0], [0, 1, 1]]),
        ("areal", [[4, 0.25, 0], [0, 1, 1]]),
        ("masked_tis", [[4, 0.25, 0], [8, 1, 1]]),
        ("geometric_mask", [[1, 1, 0], [0, 0, 0]]),
    ],
)
def test_every_correction_by_hand(name, expected):
    torch.testing.assert_close(weights(CORRECTIONS[name]), torch.tensor(expected).float())


def test_a_row_outside_its_bounds_is_left_out_whatever_its_tokens_are():
    narrow = Correction("token", None, 3.0, rows=(0.5, 1.9))
    torch.testing.assert_close(
        weights(narrow), torch.tensor([[3.0, 0.25, 0.0], [0.0, 0.0, 0.0]])
    )
    low = Correction(None, rows=(1.5, 9.0))
    assert weights(low).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_normalised_weights_have_a_mean_of_one_over_the_tokens_of_the_batch():
    given = weights(Correction("token", None, None, normalize=True))
    assert float(given.sum() / MASK.sum()) == pytest.approx(1.0)
    assert float(given[0, 0] / given[0, 1]) == pytest.approx(16.0)


@pytest.mark.parametrize("name", [name for name, known in CORRECTIONS.items() if known])
class TestEveryCorrection:
    def test_policies_that_agree_have_weights_of_one(self, name):
        same = CORRECTIONS[name].weights(PROXIMAL, PROXIMAL.clone(), MASK)
        torch.testing.assert_close(same, MASK)

    def test_weights_carry_no_gradient(self, name):
        proximal = PROXIMAL.clone().requires_grad_()
        assert not CORRECTIONS[name].weights(proximal, PROXIMAL - W.log(), MASK).requires_grad

    def test_what_stands_on_masked_tokens_has_no_influence(self, name):
        behaviour = (PROXIMAL - W.log()).masked_fill(MASK == 0, float("nan"))
        given = CORRECTIONS[name].weights(PROXIMAL, behaviour, MASK)
        assert torch.equal(given, weights(CORRECTIONS[name]))


def test_what_is_logged_of_a_mismatch_by_hand():
    logged = mismatch_metrics(
        PROXIMAL, PROXIMAL - W.log(), MASK, weights(CORRECTIONS["icepop"])
    )
    # -log w over five tokens: -log 4, log 4, -log 8, 0, 0; weights 4, 0, 0, 1, 1
    assert logged["kl_rollout"] == pytest.approx(-math.log(8) / 5)
    assert logged["weight"] == pytest.approx(6 / 5)
    assert logged["weight_zero"] == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "row"}, "level must be None or one of"),
        ({"outside": "drop"}, "outside must be one of"),
        ({"low": 2.0}, "expected bounds 0 <= low < high, got 2.0 and 2.0"),
        ({"low": -0.5}, "expected bounds 0 <= low < high, got -0.5"),
        ({"rows": (1.0, 0.5)}, "expected bounds 0 <= low < high, got 1.0 and 0.5"),
    ],
)
def test_a_correction_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Correction(**options)


def test_an_objective_corrects_nothing_unless_it_is_told_to():
    assert Objective().correction is CORRECTIONS["none"] is None

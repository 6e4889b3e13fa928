"""Numbers by hand for ratio levels, surrogates, reductions and corrections."""

import math

import pytest
import torch

from agents.losses import (
    Bounds,
    Objective,
    Totals,
    contribution_loss,
    importance_weights,
    interpolated_proximal,
    kl_penalty,
    normalize_weights,
    off_policy_negatives_mask,
    policy_loss,
    reduce,
    rejection_mask,
    second_moment_mask,
    top_entropy_mask,
    value_loss,
)
from agents.presets import PRESETS

torch.set_num_threads(1)
CISPO = PRESETS["cispo"].objective
SAPO = PRESETS["sapo"].objective
LOG2 = math.log(2.0)
ONE = torch.ones(1, 2, dtype=torch.float64)


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def loss_of(objective, new, *, old=None, advantages=None, mask=None, totals=None, **more):
    """Loss and gradient; the old log-probabilities are 0 and the advantages 1 unless given."""
    log_probs = double(new).requires_grad_()
    mask = torch.ones_like(log_probs) if mask is None else double(mask)
    loss, metrics = policy_loss(
        log_probs,
        torch.zeros_like(mask) if old is None else double(old),
        torch.ones_like(mask) if advantages is None else double(advantages),
        mask,
        objective=objective,
        totals=totals or Totals.of(mask),
        **more,
    )
    loss.backward()
    return loss.item(), log_probs.grad, metrics


FREE = Bounds(clip_low=1.0, clip_high=1e9)


def test_ratio_levels_average_log_ratios_over_what_they_are_named_after():
    # log ratios of two turns: (log 2, log 8) and (0): means log 4, 0 and over all log(16)/3
    new, turn = [[LOG2, 3 * LOG2, 0.0]], torch.tensor([[0, 0, 1]])
    losses = {
        ratio: loss_of(Objective(ratio, bounds=FREE), new, turn_BT=turn)[0]
        for ratio in ("token", "turn", "sequence", "sequence_token")
    }
    assert losses["token"] == pytest.approx(-(2 + 8 + 1) / 3)
    assert losses["turn"] == pytest.approx(-(4 + 4 + 1) / 3)
    assert losses["sequence"] == losses["sequence_token"] == pytest.approx(-(16 ** (1 / 3)))


def test_gspo_token_has_the_gradient_of_gspo_when_advantages_are_equal_in_a_row():
    new, mask = [[0.1, -0.2, 0.3], [0.2, 0.0, 0.0]], [[1, 1, 1], [1, 0, 0]]
    advantages = [[2.0] * 3, [-1.0] * 3]
    of_sequence, of_token = (
        loss_of(
            Objective(ratio, reduction="seq_mean_token_mean"),
            new,
            advantages=advantages,
            mask=mask,
        )[1]
        for ratio in ("sequence", "sequence_token")
    )
    torch.testing.assert_close(of_sequence, of_token)


def test_a_turn_of_a_masked_token_does_not_count():
    turn = torch.tensor([[0, -1, 0]])
    loss, _, _ = loss_of(
        Objective("turn", bounds=FREE), [[LOG2, 9.0, 0.0]], mask=[[1, 0, 1]], turn_BT=turn
    )
    assert loss == pytest.approx(-math.sqrt(2))


def test_the_turn_level_asks_for_turns():
    with pytest.raises(ValueError, match="turn_BT"):
        loss_of(Objective("turn"), [[0.0]])


def test_a_log_ratio_beyond_the_limit_is_cut_and_has_no_gradient():
    loss, grad, _ = loss_of(Objective(bounds=FREE, log_ratio_limit=1.0), [[5.0]])
    assert loss == pytest.approx(-math.e) and grad.item() == 0.0


def test_cispo_keeps_the_gradient_of_a_clipped_token():
    # ratio 8 counts as 1 + 4 = 5; d/dx of -5 x is -5
    loss, grad, metrics = loss_of(CISPO, [[3 * LOG2]])
    assert loss == pytest.approx(-15 * LOG2) and grad.item() == pytest.approx(-5.0)
    assert metrics["clip_fraction"] == 1.0


def test_sapo_fades_out_instead_of_clipping():
    # at r = 1 the gate is 2 / tau; far away the gradient goes to 0
    loss, grad, _ = loss_of(SAPO, [[0.0]])
    assert loss == pytest.approx(-2.0) and grad.item() == pytest.approx(-1.0)
    bad, _, _ = loss_of(SAPO, [[0.0]], advantages=[[-1.0]])
    assert bad == pytest.approx(2.0 / 1.05)
    assert abs(loss_of(SAPO, [[3.0]])[1].item()) < 1e-5


def test_reinforce_is_minus_advantage_times_log_probability():
    loss, grad, metrics = loss_of(Objective(surrogate="reinforce"), [[-3.0]], advantages=[[2.0]])
    assert loss == 6.0 and grad.item() == -2.0 and metrics["clip_fraction"] == 0.0


def test_gmpo_takes_the_geometric_mean_of_ratios_clipped_against_their_gain():
    # log ratios 1 -> 0.4 and -1 (a loss, so kept): mean -0.3
    objective = Objective(surrogate="gmpo", bounds=Bounds(0.4, 0.4))
    loss, _, metrics = loss_of(objective, [[1.0, -1.0]])
    assert loss == pytest.approx(-math.exp(-0.3)) and metrics["clip_fraction"] == 0.5


@pytest.mark.parametrize("surrogate", ["dppo_tv", "dppo_kl"])
def test_dppo_drops_a_token_that_moved_too_far_towards_its_advantage(surrogate):
    near, far = math.log(0.5), math.log(0.9)
    objective = Objective(surrogate=surrogate, bounds=Bounds(0.2, 0.2))
    assert loss_of(objective, [[far]], old=[[near]])[1].item() == 0.0
    assert loss_of(objective, [[far]], old=[[near]], advantages=[[-1.0]])[1].item() > 0.0
    assert loss_of(objective, [[near]], old=[[near]])[1].item() == -1.0


def test_dppo_measures_the_divergence_between_this_token_and_any_other():
    # KL of (1/2, 1/2) to (0.9, 0.1) is log(5/3) = 0.51
    for bound, gradient in [(0.5, 0.0), (0.52, -1.8)]:
        objective = Objective(surrogate="dppo_kl", bounds=Bounds(bound, bound))
        grad = loss_of(objective, [[math.log(0.9)]], old=[[math.log(0.5)]])[1]
        assert grad.item() == pytest.approx(gradient)


def test_vespo_weighs_the_whole_row_by_its_product():
    # product 2: good rows 2^2 e^-3, bad rows 2^3 e^-2
    objective = Objective(surrogate="vespo")
    good = loss_of(objective, [[LOG2, 0.0]])[1][0, 0].item()
    bad = loss_of(objective, [[LOG2, 0.0]], advantages=[[-1.0, -1.0]])[1][0, 0].item()
    assert good == pytest.approx(-4 * math.exp(-3) / 2)
    assert bad == pytest.approx(8 * math.exp(-2) / 2)


def test_dro_pulls_back_quadratically():
    objective = Objective(surrogate="dro", bounds=Bounds(beta=0.5))
    loss, grad, _ = loss_of(objective, [[2.0]])
    assert loss == pytest.approx(0.25 * 4 - 2) and grad.item() == pytest.approx(0.5 * 2 - 1)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("token_mean", (1 + 2 + 6) / 3),
        ("token_sum", 9.0),
        ("seq_mean_token_mean", (1.5 + 6) / 2),
        ("seq_mean_token_sum", 9 / 2),
        ("seq_mean_token_sum_norm", 9 / 2 / 10),
        ("prompt_mean", (3 / 4 + 6 / 2) / 5),
    ],
)
def test_each_reduction_by_hand(reduction, expected):
    loss, mask = double([[1, 2], [6, 100]]), double([[1, 1], [1, 0]])
    totals = Totals.of(mask, length=10, prompts=5)
    total = reduce(loss, mask, reduction, totals, double([4.0, 2.0]))
    assert total.item() == pytest.approx(expected)


def test_totals_count_tokens_and_the_rows_that_have_any():
    totals = Totals.of(double([[1, 1, 0], [0, 0, 0]]))
    assert (totals.tokens, totals.sequences, totals.length) == (2.0, 1.0, 3.0)


def test_prompt_mean_asks_for_the_tokens_of_the_prompt():
    with pytest.raises(ValueError, match="prompt_tokens_B"):
        reduce(ONE, ONE, "prompt_mean", Totals.of(ONE))


def test_kl_estimators_at_log_2():
    new, reference = double([[LOG2]]), double([[0.0]])
    assert kl_penalty(new, reference, "k1").item() == pytest.approx(LOG2)
    assert kl_penalty(new, reference, "k2").item() == pytest.approx(LOG2**2 / 2)
    assert kl_penalty(new, reference, "k3").item() == pytest.approx(0.5 + LOG2 - 1)


def test_k3_is_bounded_however_far_the_policies_are():
    assert kl_penalty(double([[-100.0]]), double([[0.0]])).item() == 10.0


# --- corrections: log weights log 4 and -log 2 on the mask, and one masked token

PAIR = (double([[2 * LOG2, 0.0, 5.0]]), double([[0.0, LOG2, 0.0]]), double([[1, 1, 0]]))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"high": None}, [4.0, 0.5, 0.0]),
        ({"high": 2.0}, [2.0, 0.5, 0.0]),
        ({"low": 1.0, "high": 2.0}, [2.0, 1.0, 0.0]),
        ({"low": 0.6, "high": 5.0, "outside": "zero"}, [4.0, 0.0, 0.0]),
        ({"level": "sequence", "high": 9.0}, [2.0, 2.0, 0.0]),
        ({"level": "geometric", "high": 9.0}, [math.sqrt(2)] * 2 + [0.0]),
    ],
)
def test_importance_weights_by_hand(options, expected):
    torch.testing.assert_close(importance_weights(*PAIR, **options), double([expected]))


def test_a_missing_behaviour_log_probability_counts_as_weight_one():
    nan = double([[float("nan")]])
    assert importance_weights(double([[-1.0]]), nan, double([[1]])).item() == 1.0


def test_weights_carry_no_gradient():
    proximal = double([[0.5]]).requires_grad_()
    weights = importance_weights(proximal, double([[0.0]]), double([[1]]))
    assert not weights.requires_grad


def test_normalised_weights_have_mean_one_over_tokens_or_rows():
    mask = double([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    by_token = normalize_weights(double([[1, 2, 0], [3, 0, 0], [0, 0, 0]]), mask)
    torch.testing.assert_close(by_token, double([[0.5, 1, 0], [1.5, 0, 0], [0, 0, 0]]))
    by_row = normalize_weights(double([[1, 1, 0], [3, 0, 0], [0, 0, 0]]), mask, "sequence")
    torch.testing.assert_close(by_row, double([[0.5, 0.5, 0], [1.5, 0, 0], [0, 0, 0]]))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"high": LOG2}, [0, 1, 0]),
        ({"low": 0.0}, [1, 0, 0]),
        ({"over": "sum", "high": 1.1 * LOG2}, [1, 1, 0]),
        ({"over": "sum", "high": 0.9 * LOG2}, [0, 0, 0]),
        ({"over": "mean", "high": 0.6 * LOG2}, [1, 1, 0]),
        ({"over": "mean", "high": 0.4 * LOG2}, [0, 0, 0]),
        ({"over": "max", "high": 1.9 * LOG2}, [0, 0, 0]),
        ({"over": "max", "high": 2.1 * LOG2}, [1, 1, 0]),
        ({"measure": "k2", "high": 0.3}, [0, 1, 0]),
        ({"measure": "k3", "high": 0.2}, [0, 1, 0]),  # 1/2 - 1 + log 2 = 0.19
        ({"measure": "k3", "high": 0.19}, [0, 0, 0]),
    ],
)
def test_rejection_by_hand(options, expected):
    torch.testing.assert_close(rejection_mask(*PAIR, **options), double([expected]))


def test_negative_tokens_of_a_row_that_drifted_are_dropped():
    new, behaviour = double([[-2.0, -2.0], [-1.0, -1.0]]), double([[-1.0, -1.0], [-1.0, -1.0]])
    advantages, mask = double([[-1.0, 1.0], [-1.0, 1.0]]), torch.ones(2, 2).double()
    kept = off_policy_negatives_mask(new, behaviour, advantages, mask, threshold=0.5)
    torch.testing.assert_close(kept, double([[0, 1], [1, 1]]))


def test_the_largest_squares_go_until_the_mean_is_below_the_threshold():
    proximal, mask = double([[3.0, 1.0, 2.0, 50.0]]), double([[1, 1, 1, 0]])
    zero = torch.zeros_like(mask)
    kept = second_moment_mask(proximal, zero, mask, 2.6)  # (1 + 4) / 2 = 2.5
    torch.testing.assert_close(kept, double([[0, 1, 1, 0]]))
    one_stays = second_moment_mask(proximal, zero, mask, 0.1)
    torch.testing.assert_close(one_stays, double([[0, 1, 0, 0]]))


def test_the_proximal_policy_is_interpolated_by_staleness():
    new, behaviour = double([[0.0] * 4]), double([[-1.0] * 4])
    versions = torch.tensor([[1, 3, 4, -1]])
    ours = interpolated_proximal(new, behaviour, versions, 5)  # 3/4, 1/2 and 0 of the way
    torch.testing.assert_close(ours, double([[-0.25, -0.5, -1.0, -1.0]]))


def test_the_share_of_highest_entropy_is_kept():
    entropy, mask = double([[1, 5, 3, 9]]), double([[1, 1, 1, 0]])
    torch.testing.assert_close(top_entropy_mask(entropy, mask, 0.34), double([[0, 1, 0, 0]]))


# --- regression


def test_the_value_loss_takes_the_worse_of_the_value_and_the_clipped_value():
    # value 2, old 0, target 2: plain 0, clipped to 1/2: (3/2)^2
    one = double([[1.0]])
    loss, metrics = value_loss(2 * one, 0 * one, 2 * one, one, totals=Totals.of(one))
    assert loss.item() == pytest.approx(9 / 8) and metrics["value_clip_fraction"] == 1.0
    loss, metrics = value_loss(2 * one, 0 * one, 0 * one, one, totals=Totals.of(one))
    assert loss.item() == pytest.approx(2.0) and metrics["value_clip_fraction"] == 0.0


def test_contributions_are_asked_for_their_sum_only():
    contributions = double([[3.0, -2.0, 7.0], [9.0, 9.0, 9.0]])
    mask = double([[1, 1, 0], [0, 0, 0]])
    assert contribution_loss(contributions, mask, double([1.0, 0.5])).item() == 0.125

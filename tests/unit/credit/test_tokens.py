"""Credit on tokens: numbers by hand, and what ties it to credit on steps."""

import numpy as np

from agents.credit import ESTIMATORS
from agents.credit.base import GroupSignals, signals
from agents.credit.tokens import (
    bi_level_gae,
    by_step,
    by_token,
    optimal_token_baseline,
    token_gae,
    token_returns,
    whiten,
)


def close(actual, expected):
    assert len(actual) == len(expected)
    for row, numbers in zip(actual, expected, strict=True):
        np.testing.assert_allclose(row, numbers, atol=1e-12)


def test_an_estimator_on_tokens_is_the_token_function():
    rewards_BT = np.array([[0.0, 0.5, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.25, 0.0]])
    mask_BT = np.array([[1.0, 1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0, 0.0]])
    values_BT = np.array([[0.1, 0.2, 9.0, 0.3, 0.4], [0.5, 9.0, 0.6, 0.7, 9.0]])
    group = signals([0, 0], [[0.5, 1.0], [0.0, 0.25]])
    tokens_GS = (np.array([2, 2]), np.array([1, 2]))
    values = tuple(values_BT[row][mask_BT[row] > 0] for row in range(2))
    tokens = by_token(group, tokens_GS, values=values)
    assert isinstance(tokens, GroupSignals)
    ours = ESTIMATORS["gae"](gamma=0.9, lam=0.8, process_weight=1.0, whiten=False)(tokens)
    expected = token_gae(rewards_BT, values_BT, mask_BT, 0.9, 0.8)
    close(ours[0].advantages_GS, [expected[row][mask_BT[row] > 0] for row in range(2)])


def test_credit_of_tokens_is_shown_as_the_mean_of_each_step():
    tokens_GS = (np.array([2, 0, 3]), np.array([1]))
    shown = by_step((np.array([1.0, 2.0, 3.0, 4.0, 8.0]), np.array([7.0])), tokens_GS)
    close(shown, [[1.5, 0.0, 5.0], [7.0]])


def test_token_returns_pass_observations_in_three_ways():
    rewards, mask = np.array([[0.0, 0.0, 1.0]]), np.array([[1.0, 0.0, 1.0]])
    assert token_returns(rewards, mask, 0.5, "skip").tolist() == [[0.5, 0.0, 1.0]]
    assert token_returns(rewards, mask, 0.5, "through").tolist() == [[0.25, 0.0, 1.0]]
    assert token_returns(rewards, mask, 0.5, "reset").tolist() == [[0.0, 0.0, 1.0]]


def test_token_gae_starts_from_the_value_after_a_row_that_was_cut_off():
    rewards, one = np.zeros((1, 1)), np.ones((1, 1))
    cut = token_gae(rewards, 0.5 * one, one, 0.5, 1.0, after_B=np.array([3.0]))
    assert cut.tolist() == [[1.0]]


def test_turn_gae_with_one_turn_is_token_gae_on_the_last_token():
    rewards, values = np.array([0.0, 0.0, 1.0]), np.array([0.2, 0.4, 0.6])
    mask = np.ones(3)
    ours = bi_level_gae(rewards, values, [2], mask, gamma=0.9, lam=0.8)
    close([ours], token_gae(rewards[None], values[None], mask[None], 0.9, 0.8))


def test_whitening_ignores_what_is_masked():
    x, mask = np.array([[1.0, 99.0], [3.0, 5.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])
    assert whiten(x, mask, epsilon=0.0).tolist() == [[-1.0, 0.0], [0.0, 1.0]]
    assert whiten(x, np.zeros((2, 2))).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_bi_level_gae_of_turns_with_nothing_between_them():
    # turns: A_2 = 2 - 4, A_1 = 1 + 0.95 * 4 - 2 + 0.95 * A_2 = 0.9; targets A + V = 2.9 and 2.
    # Inside a turn, without a discount, a token is credited with the target less its value.
    rewards, values = np.array([0.0, 1.0, 0.0, 2.0]), np.array([1.0, 2.0, 3.0, 4.0])
    close([bi_level_gae(rewards, values, [1, 3], np.ones(4))], [[1.9, 0.9, -1.0, -2.0]])


def test_an_optimal_baseline_of_paths_without_weight_is_kept_finite():
    # w = 1 - 2 + 1 + 5e-9 for both; 1e-8 is added to the sum of the weights: 5e-9 / 2e-8 = 1/4
    returns, one = np.array([[1.0], [0.0]]), np.ones((2, 1))
    ours = optimal_token_baseline(returns, np.log(one), one + 5e-9, one, np.array([0, 0]))
    np.testing.assert_allclose(ours, [[0.75], [-0.25]], rtol=1e-6)

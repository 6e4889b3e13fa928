import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.credit.base import signals
from agents.credit.finestep import SMOOTHINGS, FineStep
from agents.credit.grpo import Grpo


def steps(estimator, group):
    """Run an estimator with one track and return its advantages."""
    (track,) = estimator(group)
    return track.advantages_GS


def test_grpo_by_hand():
    # scores 1, 0, 0, 0: mean 1/4, deviation with n - 1 is 1/2
    group = signals([1, 0, 0, 0], [[0], [0, 0], [0], [0]])
    first, second, *_ = steps(Grpo(epsilon=0.0), group)
    np.testing.assert_allclose(first, [1.5])
    np.testing.assert_allclose(second, [-0.5, -0.5])


def test_grpo_with_the_biased_deviation_by_hand():
    # mean 1/2, population deviation 1/2
    first, second = steps(Grpo(scale="biased", epsilon=0.0), signals([1, 0], [[0], [0]]))
    assert (first, second) == (1.0, -1.0)


def test_grpo_without_scale_is_the_distance_from_the_mean():
    first, second = steps(Grpo(scale="none"), signals([1, 0], [[0], [0]]))
    assert (first, second) == (0.5, -0.5)


def test_grpo_epsilon_is_added_to_the_deviation():
    first, _ = steps(Grpo(scale="biased", epsilon=0.5), signals([1, 0], [[0], [0]]))
    assert first == 0.5


def test_grpo_of_a_single_attempt_is_zero_or_raw_on_request():
    group = signals([0.7], [[0.0]])
    assert steps(Grpo(), group)[0] == 0.0
    assert steps(Grpo(singleton="raw", epsilon=0.0), group)[0] == 0.7


def test_grpo_can_mix_process_rewards_into_the_score():
    group = signals([0, 0], [[1, 1], [0]])
    first, second = steps(Grpo(scale="none", process_weight=0.5), group)
    np.testing.assert_allclose(first, [0.5, 0.5])
    np.testing.assert_allclose(second, [-0.5])


def test_the_outcome_is_discounted_to_each_step_before_it_is_compared():
    # o = 0.5, 1 | 0, 0: mean 3/8; squared distances (1 + 25 + 9 + 9) / 64 over n - 1 = 3
    group = signals([1, 0], [[0, 0], [0, 0]])
    deviation = np.sqrt(44 / 64 / 3)
    first, second = steps(FineStep(gamma=0.5, lam=1.0, epsilon=0.0), group)
    np.testing.assert_allclose(first, np.array([1, 5]) / 8 / deviation)
    np.testing.assert_allclose(second, np.array([-3, -3]) / 8 / deviation)


def test_the_process_term_is_smoothed_backwards_before_it_is_compared():
    # r = 0, 1 with alpha 1/2: q = 1/2, 1; mean 3/4, deviation sqrt(2)/4
    group = signals([0], [[0, 1]])
    (first,) = steps(FineStep(lam=0.0, alpha=0.5, epsilon=0.0), group)
    np.testing.assert_allclose(first, [-1 / np.sqrt(2), 1 / np.sqrt(2)])


def test_lam_mixes_the_two_terms():
    group = signals([1, 0], [[0, 0.5], [1, 0.25, 0]])
    outcome = steps(FineStep(lam=1.0), group)
    process = steps(FineStep(lam=0.0), group)
    mixed = steps(FineStep(lam=0.8), group)
    for a, b, c in zip(outcome, process, mixed, strict=True):
        np.testing.assert_allclose(c, 0.8 * a + 0.2 * b)


@pytest.mark.parametrize(
    ("smooth", "expected"),
    [
        ("backward", [3 / 4, 3 / 2, 2]),  # 2; 1 + (2 - 1)/2; 0 + (3/2)/2
        ("forward", [0, 1 / 2, 5 / 4]),
        ("window", [1 / 2, 1, 3 / 2]),  # the neighbours' means are 1, 1, 1
        ("none", [0, 1, 2]),
    ],
)
def test_each_smoothing_by_hand(smooth, expected):
    group = signals([0, 0, 0], [[5.0], [0.0, 1.0, 2.0], [7.0, 3.0]])
    process_N = np.concatenate(group.process_GS)
    smoothed_N = SMOOTHINGS[smooth](process_N, group, 0.5)
    np.testing.assert_allclose(smoothed_N[1:4], expected)
    assert smoothed_N[0] == 5.0, "a lone step has no neighbour, and none in another attempt"


def test_joint_mixes_before_it_compares():
    # c = (1 + 1)/2, 0: mean 1/2, deviation 1/sqrt(2)
    group = signals([1, 0], [[1], [0]])
    first, second = steps(FineStep(norm="joint", epsilon=0.0), group)
    np.testing.assert_allclose([first[0], second[0]], [1 / np.sqrt(2), -1 / np.sqrt(2)])


def test_index_compares_a_step_with_the_same_step_of_the_others():
    # the second attempt's second step has nobody to be compared with
    group = signals([0, 0], [[3], [1, 7]])
    first, second = steps(FineStep(norm="index", lam=0.0, smooth="none", epsilon=0.0), group)
    np.testing.assert_allclose(first, [1 / np.sqrt(2)])
    np.testing.assert_allclose(second, [-1 / np.sqrt(2), 0.0])


def test_joint_and_index_mix_first_and_compare_then():
    # outcome discounted: 1/2, 1 and 0; half of it and half of the process: 3/4, 1/2 and 0
    group = signals([1, 0], [[1, 0], [0]])
    options = {"lam": 0.5, "gamma": 0.5, "smooth": "none", "scale": "biased", "epsilon": 0.0}
    first, second = steps(FineStep(norm="joint", **options), group)
    # distances from the mean 5/12 are 4, 1 and -5 twelfths
    np.testing.assert_allclose(first, np.array([4, 1]) / np.sqrt(14))
    np.testing.assert_allclose(second, [-5 / np.sqrt(14)])
    first, second = steps(FineStep(norm="index", **options), group)
    np.testing.assert_allclose([*first, *second], [1.0, 0.0, -1.0])
    # weights that are not equal: 3/4 of 1/2, 1 and 0, and 1/4 of 1, 0 and 0 are 5/8, 6/8 and 0
    first, second = steps(FineStep(norm="joint", **options | {"lam": 0.75}), group)
    np.testing.assert_allclose([*first, *second], np.array([4, 7, -11]) / np.sqrt(62))


def test_separate_discounts_after_the_comparison():
    group = signals([1, 0], [[0, 0], [0]])
    first, second = steps(FineStep(norm="separate", lam=1.0, gamma=0.5, epsilon=0.0), group)
    np.testing.assert_allclose(first, np.array([0.5, 1]) / np.sqrt(2))
    np.testing.assert_allclose(second, [-1 / np.sqrt(2)])


def test_finestep_separate_with_lambda_and_gamma_one_is_grpo():
    group = signals([1, 0, 0.2], [[0, 1], [-1], [0.3, 0, 1]])
    fine = FineStep(norm="separate", lam=1.0, gamma=1.0, epsilon=1e-6)
    for a, b in zip(steps(fine, group), steps(Grpo(), group), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("norm", ["sep_pooled", "joint", "index"])
def test_the_guard_keeps_the_discount_from_grading_positions(norm):
    group = signals([1, 1], [[0, 0, 0], [0]])
    for advantages_S in steps(FineStep(norm=norm), group):
        np.testing.assert_array_equal(advantages_S, 0.0)
    assert norm == "index" or steps(FineStep(norm=norm, guard=False), group)[0][0] < 0


@given(scale=st.floats(0.5, 8), shift=st.floats(-3, 3))
@pytest.mark.parametrize("norm", ["sep_pooled", "separate"])
def test_the_scale_of_the_process_reward_drops_out(norm, scale, shift):
    process = [[0, 1, 0.5], [-1, 0.2], [0.3]]
    moved = [[scale * r + shift for r in row] for row in process]
    fine = FineStep(norm=norm, epsilon=0.0)
    before = steps(fine, signals([1, 0, 0], process))
    after = steps(fine, signals([1, 0, 0], moved))
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_early_steps_of_a_long_success_get_less_than_those_of_a_short_one():
    group = signals([1, 1, 0], [[0] * 5, [0], [0]])
    long, short, _ = steps(FineStep(lam=1.0), group)
    assert long[0] < long[-1] == short[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "pooled"}, "norm must be one of"),
        ({"smooth": "ema"}, "smooth must be one of"),
        ({"gamma": 1.5}, "gamma must be in"),
        ({"lam": -0.1}, "lam must be in"),
        ({"alpha": 2.0}, "alpha must be in"),
        ({"epsilon": -1.0}, "epsilon must be in"),
        ({"scale": "std"}, "scale must be one of"),
    ],
)
def test_a_wrong_setting_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        FineStep(**options)

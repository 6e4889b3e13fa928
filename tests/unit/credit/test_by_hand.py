"""Numbers by hand for every estimator, and the limits that tie two of them together."""

import numpy as np
import pytest

from agents.credit import ESTIMATORS, assign
from agents.credit.base import signals
from agents.credit.gdpo import Gdpo
from agents.credit.pav import pass_at_k

ROOT2 = np.sqrt(2)


def credit(name, group, **options):
    """Run an estimator with one track; a list of lists, exact where epsilon does not matter."""
    (track,) = ESTIMATORS[name](**options)(group)
    return [advantages_S.tolist() for advantages_S in track.advantages_GS]


def with_signals(outcomes, process, **learned):
    rows = {name: tuple(np.array(row, dtype=float) for row in v) for name, v in learned.items()}
    return signals(outcomes, process, learned_GS=rows)


def close(actual, expected):
    assert len(actual) == len(expected)
    for row, numbers in zip(actual, expected, strict=True):
        np.testing.assert_allclose(row, numbers, atol=1e-12)


TWO = signals([1, 0], [[0, 0], [0]])


def test_dr_grpo_is_the_distance_from_the_mean():
    close(credit("dr_grpo", TWO), [[0.5, 0.5], [-0.5]])


def test_rloo_is_the_distance_from_the_mean_of_the_others():
    close(credit("rloo", signals([1, 0, 0.5], [[0], [0], [0]])), [[0.75], [-0.75], [0.0]])


def test_dr_grpo_is_rloo_times_n_minus_1_over_n():
    group = signals([1, 0, 0.2, 0.7], [[0]] * 4)
    close(credit("dr_grpo", group), 0.75 * np.array(credit("rloo", group)))


def test_max_rl_divides_by_the_mean_so_a_rare_success_weighs_more():
    rare = signals([1, 0, 0, 0], [[0]] * 4)
    close(credit("max_rl", rare, epsilon=0.0), [[3.0], [-1.0], [-1.0], [-1.0]])
    common = signals([1, 1, 1, 0], [[0]] * 4)
    close(credit("max_rl", common, epsilon=0.0), [[1 / 3]] * 3 + [[-1.0]])


def test_max_rl_has_nothing_to_say_about_a_mean_that_is_not_positive():
    close(credit("max_rl", signals([1, -1], [[0], [0]])), [[0.0], [0.0]])


def test_pass_at_k_credits_the_best_with_its_lead():
    # scores 1, 1/2, 0: deviation 1/2, so the lead of 1/2 is one deviation
    group = signals([0.5, 1, 0], [[0], [0, 0], [0]])
    close(credit("pass_at_k", group, epsilon=0.0), [[0.0], [1.0, 1.0], [0.0]])
    close(credit("pass_at_k", group, scale="none"), [[0.0], [0.5, 0.5], [0.0]])


def test_pass_at_k_gives_nothing_when_the_best_place_is_shared():
    close(credit("pass_at_k", signals([1, 1, 0], [[0]] * 3)), [[0.0]] * 3)


def test_opo_weighs_the_baseline_by_length():
    # lengths 30 and 10: baseline 3/4
    group = with_signals([1, 0], [[0, 0], [0]], tokens=[[20, 10], [10]])
    close(credit("opo", group), [[0.25, 0.25], [-0.75]])


def test_gpg_scales_by_the_share_of_attempts_without_reward():
    # one of three attempts of the batch has a score: factor 3
    first, second = signals([1, 0], [[0], [0]]), signals([0], [[0]])
    batch = assign(ESTIMATORS["gpg"](), [first, second])
    close(batch[0][0].advantages_GS, [[1.5], [-1.5]])
    close(batch[1][0].advantages_GS, [[0.0]])


def test_lite_ppo_divides_by_the_deviation_of_the_batch():
    # distances 1, -1, 3, -3 from the group means: squares 20 over n - 1 = 3
    wide, narrow = signals([6, 0], [[0], [0]]), signals([2, 0], [[0], [0]])
    deviation = np.sqrt(20 / 3)
    batch = assign(ESTIMATORS["lite_ppo"](epsilon=0.0), [wide, narrow])
    close(batch[0][0].advantages_GS, [[3 / deviation], [-3 / deviation]])
    close(batch[1][0].advantages_GS, [[1 / deviation], [-1 / deviation]])


def test_lite_ppo_can_take_the_deviation_around_the_mean_of_the_batch():
    # scores 6, 4, 2, 0 around 3: squares 9 + 1 + 1 + 9 over n - 1 = 3
    high, low = signals([6, 4], [[0], [0]]), signals([2, 0], [[0], [0]])
    estimator = ESTIMATORS["lite_ppo"](epsilon=0.0, around_batch_mean=True)
    expected = [[np.sqrt(3 / 20)], [-np.sqrt(3 / 20)]]
    close(assign(estimator, [high, low])[0][0].advantages_GS, expected)


def test_gdpo_gives_each_reward_the_same_spread():
    # outcome 1, 0, 0 and process 0, 0, 100: each has deviation s, so they cancel up to order
    group = signals([1, 0, 0], [[0], [0], [100]])
    first, second, third = credit("gdpo", group, epsilon=0.0)
    assert first == pytest.approx(third) and second[0] == pytest.approx(-2 * first[0])
    weighted = Gdpo(process_weight=0.0, epsilon=0.0)(group)[0].advantages_GS
    close(weighted, credit("grpo", group, epsilon=0.0))


def test_reinforce_pp_standardises_discounted_returns():
    # returns 1/2, 1 | 0: mean 1/2, deviation 1/2
    close(credit("reinforce_pp", TWO, gamma=0.5, epsilon=0.0), [[0.0, 1.0], [-1.0]])


def test_reinforce_pp_adds_weighted_process_rewards():
    # rewards 1, 2 + 1 | 0: returns 4, 3 | 0, mean 7/3, squares 25/9 + 4/9 + 49/9 over 2
    group = signals([1, 0], [[1, 2], [0]])
    deviation = np.sqrt(78 / 18)
    ours = credit("reinforce_pp", group, process_weight=1.0, epsilon=0.0)
    close(ours, [np.array([5, 2]) / 3 / deviation, [-7 / 3 / deviation]])


def test_reinforce_pp_with_baseline_lets_long_attempts_weigh_more():
    # distances 1/2, 1/2 | -1/2: mean 1/6, squares 2/9 * ... = 1/9 + 1/9 + 4/9 over 2
    deviation = np.sqrt(1 / 3)
    expected = [[1 / 3 / deviation] * 2, [-2 / 3 / deviation]]
    close(credit("reinforce_pp_baseline", TWO, epsilon=0.0), expected)


def test_remax_subtracts_the_greedy_score_from_the_return():
    group = with_signals([1], [[0.5, 0.25]], greedy=[[0.5, 0.5]])
    close(credit("remax", group), [[0.5, 0.5]])
    close(credit("remax", group, process_weight=1.0), [[1.25, 0.75]])


def test_gae_by_hand():
    # values 1/2, 1/4; rewards 0, 1. delta_2 = 3/4, delta_1 = 1/2 * 1/4 - 1/2 = -3/8
    group = with_signals([1], [[0, 0]], values=[[0.5, 0.25]])
    ours = credit("gae", group, gamma=0.5, lam=0.5, whiten=False)
    close(ours, [[-3 / 8 + 1 / 4 * 3 / 4, 3 / 4]])


def test_gae_with_lam_1_is_the_return_less_the_value():
    group = with_signals([1, 0], [[0, 0.5], [1]], values=[[0.3, 0.6], [0.2]])
    options = {"process_weight": 1.0, "whiten": False}
    close(credit("gae", group, **options), [[1.2, 0.9], [0.8]])


def test_a_critic_that_is_right_leaves_no_credit():
    group = with_signals([1, 0], [[0, 0], [0]], values=[[1, 1], [0]])
    close(credit("gae", group, whiten=False), [[0.0, 0.0], [0.0]])


def test_gae_does_not_look_past_the_end_of_an_attempt():
    group = with_signals([0, 0], [[0], [0]], values=[[0.0], [5.0]])
    close(credit("gae", group, whiten=False), [[0.0], [-5.0]])


def test_process_grpo_by_hand():
    # process 0, 1 | 0, 0: mean 1/4, population deviation sqrt(3)/4, so z = -1/sqrt3 or sqrt3
    low, high = -1 / np.sqrt(3), np.sqrt(3)
    group = signals([0, 0], [[0, 1], [0, 0]])
    options = {"scale": "biased", "epsilon": 0.0}
    close(credit("process_grpo", group, **options), [[low + high, high], [2 * low, low]])


def test_process_grpo_without_process_rewards_is_grpo():
    close(credit("process_grpo", TWO), credit("grpo", TWO))


def test_mt_grpo_credits_turns_before_the_last_with_their_own_reward():
    # outcome 1, 0: +-1/sqrt2; first turns 1, 0: +-1/sqrt2; the last turn has the outcome only
    group = signals([1, 0], [[1, 9], [0, 9]])
    z = 1 / ROOT2
    ours = credit("mt_grpo", group, epsilon=0.0, coefficient=0.5)
    close(ours, [[1.5 * z, z], [-1.5 * z, -z]])


def test_mt_grpo_credits_an_attempt_of_one_turn_with_the_sum():
    # sums 1 and 3: the lone turn is the better one although its outcome is worse
    group = signals([0, 1], [[3], [0, 0]])
    z = 1 / ROOT2
    first, second = credit("mt_grpo", group, epsilon=0.0, coefficient=0.0)
    close([first, second], [[z], [z, z]])


def test_gigpo_compares_steps_from_the_same_state():
    # step returns 1/2, 1 | 0, 0; state s: 1/2 and 0; state t: 1 and 0
    group = signals([1, 0], [[0, 0], [0, 0]], states_GS=(("s", "t"), ("s", "t")))
    options = {"gamma": 0.5, "scale": "none"}
    close(credit("gigpo", group, **options), [[0.75, 1.0], [-0.75, -1.0]])
    close(credit("gigpo", group, omega=2.0, **options), [[1.0, 1.5], [-1.0, -1.5]])


def test_gigpo_with_states_that_never_recur_is_grpo():
    group = signals([1, 0], [[0, 0], [0]], states_GS=(("a", "b"), ("c",)))
    close(credit("gigpo", group), credit("grpo", group))


def test_gigpo_similar_states_are_one_anchor():
    states = (("table t has 3 rows",), ("table t has 4 rows",))
    group = signals([1, 0], [[0], [0]], states_GS=states)
    close(credit("gigpo", group), credit("grpo", group))
    twice = credit("gigpo", group, similarity=0.9)
    close(twice, 2 * np.array(credit("grpo", group)))


def test_gigpo_without_states_says_what_is_missing():
    with pytest.raises(ValueError, match="states_GS"):
        credit("gigpo", TWO)


def test_igpo_sums_standardised_gains_and_puts_the_outcome_last():
    # rewards 1, 1 | 0, 0 (the last gain is not used): z = +-sqrt(3)/2
    group = with_signals([1, 0], [[0, 0], [0, 0]], information_gain=[[1, 9], [0, -9]])
    z = np.sqrt(3) / 2
    ours = credit("igpo", group, gamma=0.5, epsilon=0.0)
    close(ours, [[1.5 * z, z], [-1.5 * z, -z]])


def test_igpo_released_compares_returns_at_the_same_step():
    # returns 2, 1 | 0: an attempt that ended counts as 0
    group = with_signals([1, 0], [[0, 0], [0]], information_gain=[[1, 0], [0]])
    close(credit("igpo", group, form="released"), [[1.0, 0.5], [-1.0]])


def test_tree_grpo_adds_the_comparison_in_the_group_and_in_the_tree():
    # group 1, 0, 0, 1 around 1/2 with biased deviation 1/2; each tree likewise
    group = signals([1, 0, 0, 1], [[0]] * 4, trees_G=("x", "x", "y", "y"))
    options = {"scale": "biased", "epsilon": 0.0}
    close(credit("tree_grpo", group, **options), [[2.0], [-2.0], [-2.0], [2.0]])
    close(credit("tree_grpo", group, compare="inner", **options), [[1.0], [-1.0], [-1.0], [1.0]])


def test_tree_grpo_without_trees_is_grpo():
    close(credit("tree_grpo", TWO), credit("grpo", TWO))


def test_dual_track_gives_two_tracks_with_their_own_mask_and_weight():
    # outcomes 1, 0 and schema scores 0, 1, both +-1 in population deviations
    group = with_signals(
        [1, 0],
        [[0, 0, 0], [0, 0]],
        schema_reward=[[0, 0, 0], [1, 0]],
        schema_phase=[[1, 1, 0], [1, 0]],
    )
    schema, answer = ESTIMATORS["dual_track"](coupled=False, epsilon=0.0)(group)
    close(schema.advantages_GS, [[-1.0, -1.0, 0.0], [1.0, 0.0]])
    assert [mask.tolist() for mask in schema.mask_GS] == [[True, True, False], [True, False]]
    assert (schema.weight, answer.weight, answer.mask_GS) == (0.25, 1.0, None)
    close(answer.advantages_GS, [[1.0] * 3, [-1.0] * 2])
    together = credit("dual_track", group, mode="sum", coupled=False, epsilon=0.0)
    close(together, [[0.75, 0.75, 1.0], [-0.75, -1.0]])
    weighted = credit("dual_track", group, mode="reward_weighted", coupled=False, epsilon=0.0)
    close(weighted, [[1.0, 1.0, 1.0], [-1.25, -1.0]])


def test_dual_track_coupled_pays_the_schema_only_for_a_right_answer():
    # both proposed the right schema; scores 1 and 0 after the gate
    group = with_signals(
        [1.1, 0.2], [[0], [0]], schema_reward=[[1], [1]], schema_phase=[[1], [1]]
    )
    schema, _ = ESTIMATORS["dual_track"](epsilon=0.0)(group)
    close(schema.advantages_GS, [[1.0], [-1.0]])
    schema, _ = ESTIMATORS["dual_track"](epsilon=0.0, coupled=False)(group)
    close(schema.advantages_GS, [[0.0], [0.0]])


def test_reward_sql_takes_the_direction_from_the_attempt_and_the_size_from_the_step():
    # b = 1 + 1/2 and 0 + 1/2: a = +-1/sqrt2
    group = with_signals([1, 0], [[0, 0], [0, 0]], step_score=[[0.75, 0.25], [0.75, 0.25]])
    z = 1 / ROOT2
    ours = credit("reward_sql", group, epsilon=0.0)
    close(ours, [[0.75 * z, 0.25 * z], [-0.25 * z, -0.75 * z]])


def test_reward_sql_never_raises_a_step_of_an_attempt_below_the_mean():
    # a right answer with poor steps, below the mean of the group
    group = with_signals([1, 1], [[0], [0]], step_score=[[0.1], [0.9]])
    low, high = credit("reward_sql", group)
    assert low[0] < 0 < high[0]


def test_spa_compares_what_is_still_to_come_at_the_same_step():
    # rewards 0.5 + 1, 0.5 | 0, 1: returns 2, 1/2 | 1, 1
    group = with_signals(
        [1, 0], [[0, 0], [0, 0]], progress=[[0.5, 0.5], [0, 0]], grounding=[[1, 0], [0, 1]]
    )
    ours = credit("spa", group, scale="none", beta=1.0)
    close(ours, [[0.5, -0.25], [-0.5, 0.25]])
    halved = credit("spa", group, scale="none", beta=0.0, gamma=0.5)
    close(halved, [[0.375, 0.25], [-0.375, -0.25]])


def test_spa_with_a_critic_is_gae_on_its_rewards():
    group = with_signals(
        [0], [[0, 0]], progress=[[1, 2]], grounding=[[0, 0]], values=[[0.5, 0.25]]
    )
    close(credit("spa", group, baseline="critic"), [[2.5, 1.75]])


def test_pav_adds_the_provers_progress_to_the_outcome():
    group = with_signals(
        [1, 0],
        [[0, 0], [0]],
        prover_before=[[0.25, 0.5], [0.25]],
        prover_after=[[0.5, 1.0], [0.0]],
    )
    ours = credit("pav", group, alpha=2.0)
    close(ours, [[0.5 + 0.5, 0.5 + 1.0], [-0.5 - 0.5]])


def test_pav_without_progress_is_dr_grpo():
    group = with_signals([1, 0], [[0], [0]], prover_before=[[0.5], [0]], prover_after=[[0.5], [0]])
    close(credit("pav", group), credit("dr_grpo", group))


def test_pass_at_k_estimates_are_refused_outside_their_range():
    assert pass_at_k(1, 2, 2) == 1.0 and pass_at_k(1, 4, 1) == 0.25
    with pytest.raises(ValueError, match="successes"):
        pass_at_k(1, 2, 3)

"""Credit with the token as the unit of time: returns, GAE, whitening, token baselines.

The estimators of this package work on steps. These functions are their token-level forms, for a
critic with a value per token and for comparison with other code bases.

Shape suffixes: B rows (attempts), T tokens. `mask_BT` is 1 on tokens the policy sampled, 0 on
observations inside a row and on padding at its end. Results are 0 where the mask is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from agents.credit.base import FloatArray, GroupSignals, Ragged
from agents.credit.statistics import IntArray, Scale, standardize

Observations = Literal["skip", "reset", "through"]
"""What time does on observation tokens.

skip     nothing: a return is carried over them unchanged (verl from 0.9 on, AReaL)
reset    the return starts again at 0 before them, so the final reward reaches the last turn only
         (verl up to 0.8, SkyRL); it is here to match those, not to be used
through  they are steps like any other, also on padding (OpenRLHF, SkyRL's GAE)
"""


def token_returns(
    rewards_BT: FloatArray,
    mask_BT: FloatArray,
    gamma: float,
    observations: Observations = "skip",
) -> FloatArray:
    """Return the discounted sum of rewards from each token to the end of its row."""
    returns_BT = np.zeros_like(rewards_BT)
    running_B = np.zeros(len(rewards_BT))
    for t in reversed(range(rewards_BT.shape[1])):
        here_B = rewards_BT[:, t] + gamma * running_B
        returns_BT[:, t] = here_B
        running_B = _carry(here_B, running_B, mask_BT[:, t], observations)
    return np.where(mask_BT > 0, returns_BT, 0.0)


def _carry(
    here_B: FloatArray, before_B: FloatArray, mask_B: FloatArray, observations: Observations
) -> FloatArray:
    if observations == "through":
        return here_B
    return np.where(mask_B > 0, here_B, before_B if observations == "skip" else 0.0)


def token_gae(
    rewards_BT: FloatArray,
    values_BT: FloatArray,
    mask_BT: FloatArray,
    gamma: float,
    lam: float,
    observations: Literal["skip", "through"] = "skip",
    after_B: FloatArray | None = None,
) -> FloatArray:
    """Return generalised advantages A_t = delta_t + gamma lam A_t+1 per token, not whitened.

    delta_t = r_t + gamma V_next - V_t with V_next the value at the next token that counts, and
    `after_B` after the last: the critic's value of an attempt that a limit cut off, 0 by default
    (AReaL fills it in, verl does not). Advantage plus value is the critic's target.
    """
    counts_BT = mask_BT if observations == "skip" else np.ones_like(mask_BT)
    credit_BT = np.zeros_like(rewards_BT)
    credit_B = np.zeros(len(rewards_BT))
    next_B = credit_B if after_B is None else after_B
    for t in reversed(range(rewards_BT.shape[1])):
        delta_B = rewards_BT[:, t] + gamma * next_B - values_BT[:, t]
        credit_B = np.where(counts_BT[:, t] > 0, delta_B + gamma * lam * credit_B, credit_B)
        next_B = np.where(counts_BT[:, t] > 0, values_BT[:, t], next_B)
        credit_BT[:, t] = credit_B
    return np.where(mask_BT > 0, credit_BT, 0.0)


def bi_level_gae(
    rewards_T: FloatArray,
    values_T: FloatArray,
    turn_ends: Sequence[int],
    mask_T: FloatArray,
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
    turn_gamma: float = 0.95,
) -> FloatArray:
    """Return advantages of one row: GAE over turn ends, whose targets are then spread inside turns.

        turns   delta_k = r_k + turn_gamma V_k+1 - V_k,  A_k = delta_k + turn_gamma lam A_k+1
        tokens  GAE inside turn k with A_k + V_k as the reward at its end and nothing after it

    with r_k, V_k at the last token of turn k. `turn_ends` are these positions, in order. (The
    reference finds them as the tokens whose reward is not 0, and so merges a turn of reward 0
    with the next one.)

    Source: RAGEN, ``compute_bi_level_gae_advantage_return``.
    """
    ends = np.asarray(turn_ends)
    one = np.ones((1, ends.size))
    turn_K = token_gae(rewards_T[ends][None], values_T[ends][None], one, turn_gamma, lam)[0]
    credit_T, start = np.zeros_like(rewards_T), 0
    for end, target in zip(ends, turn_K + values_T[ends], strict=True):
        turn = slice(start, end + 1)
        goal_T = np.zeros(end + 1 - start)
        goal_T[-1] = target
        inside = token_gae(goal_T[None], values_T[turn][None], mask_T[turn][None], gamma, lam)
        credit_T[turn], start = inside[0], end + 1
    return credit_T


def whiten(
    x_BT: FloatArray, mask_BT: FloatArray, scale: Scale = "unbiased", epsilon: float = 1e-8
) -> FloatArray:
    """Standardise the numbers under the mask, so long rows weigh more; 0 elsewhere.

    Equal numbers, and a single one, give exactly zero (verl raises for a single one).
    """
    under_BT = mask_BT > 0
    result_BT = np.zeros_like(x_BT)
    if under_BT.any():
        result_BT[under_BT] = standardize(x_BT[under_BT], scale, epsilon)
    return result_BT


def optimal_token_baseline(
    returns_BT: FloatArray,
    log_probs_BT: FloatArray,
    sum_squares_BT: FloatArray,
    mask_BT: FloatArray,
    pool_B: IntArray,
) -> FloatArray:
    """Return returns less a baseline per token, weighted by the path's squared gradient norm.

        w_t = 1 - 2 pi_t + sum_v pi(v)^2,  W_t = w_1 + ... + w_t
        A_t = R_t - sum_i R_it W_it / sum_i W_it     over the attempts i of the same task

    The k-th sampled tokens of the attempts are compared, so observations do not shift them
    (verl's variant for tools). Where only the longest attempt of a task goes on, and for a lone
    attempt, the baseline is 0. `pool_B` numbers the tasks.

    Source: verl, ``tir_optimal_token_baseline``.
    """
    weight_BT = np.cumsum((1.0 - 2.0 * np.exp(log_probs_BT) + sum_squares_BT) * mask_BT, axis=1)
    order_BT = np.argsort(mask_BT <= 0, axis=1, kind="stable")
    returns_BK, weight_BK, mask_BK = (
        np.take_along_axis(x_BT, order_BT, axis=1) for x_BT in (returns_BT, weight_BT, mask_BT)
    )
    baseline_BK = np.zeros_like(returns_BK)
    for pool in np.unique(pool_B):
        rows_B = pool_B == pool
        baseline_BK[rows_B] = _shared_baseline(
            returns_BK[rows_B], weight_BK[rows_B], mask_BK[rows_B]
        )
    credit_BT = np.zeros_like(returns_BT)
    np.put_along_axis(credit_BT, order_BT, (returns_BK - baseline_BK) * mask_BK, axis=1)
    return credit_BT


def _shared_baseline(
    returns_BK: FloatArray, weight_BK: FloatArray, mask_BK: FloatArray
) -> FloatArray:
    weight_BK = weight_BK * mask_BK
    baseline_K = (returns_BK * weight_BK).sum(0) / (weight_BK.sum(0) + 1e-8)
    return np.where(mask_BK.sum(0) > 1, baseline_K, 0.0)


def by_step(credit_GT: Ragged, tokens_GS: tuple[IntArray, ...]) -> Ragged:
    """Return the mean over the sampled tokens of each step; 0 for a step without any.

    It shows credit on tokens where one number per step is wanted; it does not undo `by_token`.
    """
    means = []
    for credit_T, tokens_S in zip(credit_GT, tokens_GS, strict=True):
        ends_S = np.cumsum(tokens_S)
        sums_S = np.diff(np.concatenate([[0.0], np.cumsum(credit_T)])[np.append(0, ends_S)])
        means.append(np.asarray(sums_S / np.maximum(tokens_S, 1)))
    return tuple(means)


def by_token(
    group: GroupSignals, tokens_GS: tuple[IntArray, ...], **learned: Ragged
) -> GroupSignals:
    """Return the group with every sampled token as a step, to run an estimator on tokens.

    A step's process reward stands on its last token, the outcome stays. `tokens_GS` counts the
    sampled tokens of each step, at least one; `learned` are signals per token.
    """
    process = []
    for process_S, tokens_S in zip(group.process_GS, tokens_GS, strict=True):
        process_T = np.zeros(int(tokens_S.sum()))
        process_T[np.cumsum(tokens_S) - 1] = process_S
        process.append(process_T)
    return GroupSignals(group.outcome_G, tuple(process), learned_GS=learned)

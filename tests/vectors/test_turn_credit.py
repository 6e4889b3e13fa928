"""Recorded cases of MT-GRPO, IGPO, Tree-GRPO, Reward-SQL, SPA-RL and PAV."""

import numpy as np
import pytest
import torch
from vector_cases import (
    array,
    attempt_advantages,
    close,
    differs,
    each_case,
    far,
    load,
    rows_by,
    tensor,
)

from agents.credit import Grpo, Igpo, MtGrpo, Rloo, RewardSql, Spa, TreeGrpo, signals
from agents.credit import pav as prover
from agents.credit.ragged import split
from agents.credit.reward_sql import ATTEMPT_SCORES
from agents.credit.statistics import standardize
from agents.credit.tokens import token_returns
from agents.losses import Bounds, Objective, Totals, contribution_loss, policy_loss


def concatenated(credit):
    return np.concatenate(credit[0].advantages_GS)


# --- MT-GRPO: a step is a run of sampled tokens; the turn reward stands on the first

MT_STD = {"scale": "unbiased", "epsilon": 1e-4}


def mt_assign(case):
    args, out = case["args"], case["out"]
    mask = array(args["completion_mask"])
    for name in ("turn", "outcome", "combined"):
        close(standardize(array(args[f"{name}_rewards"]), "unbiased", 1e-4), out[f"{name}_adv"])
    run_starts = (np.diff(mask, axis=1, prepend=0) > 0).cumsum(axis=1)
    process = [
        [turn] + [0.0] * (runs - 1)
        for turn, runs in zip(args["turn_rewards"], run_starts[:, -1], strict=True)
    ]
    group = signals(args["outcome_rewards"], process)
    (track,) = MtGrpo(coefficient=args["turn_advantage_coef"])(group)
    for row, advantages in enumerate(track.advantages_GS):
        sampled = mask[row] > 0
        close(advantages[run_starts[row] - 1][sampled], array(out["advantages"])[row][sampled])


@differs("where a tool answered is known from the steps; no text is searched for a tag")
def mt_positions(case):
    # a step before the last was answered; in the reference's chats that is what is found
    answered = [len(chat) > 1 for chat in case["args"]["completion_messages"]]
    assert answered == [position > 0 for position in case["out"]]


def mt_zero(case):
    group = signals([0.5] * 4, [[0.25, 0.0]] * 4)
    close(concatenated(MtGrpo()(group)), np.repeat(case["out"], 2).tolist())


@differs("the reference gives NaN for a lone attempt; it has nothing to compare with and gets 0")
def mt_lone(case):
    assert set(case["out"]) == {"NaN"}
    assert concatenated(MtGrpo()(signals([1.0], [[0.5, 0.0]]))).tolist() == [0.0, 0.0]


MT_CHECKS = {
    "assign_*": mt_assign,
    "find_result_positions": mt_positions,
    "zero_variance": mt_zero,
    "num_generations_1": mt_lone,
}


@each_case("mt_grpo.json", MT_CHECKS)
def test_mt_grpo(check, case):
    check(case)


# --- IGPO

DENSE = load("verl_advantages.json")[0]


def igpo_groups(turn_rewards, keys):
    """Groups whose information gains and outcome are the turn rewards."""
    for rows in rows_by(keys).values():
        turns = [np.array(turn_rewards[row]) for row in rows]
        yield (
            rows,
            signals(
                [turn[-1] for turn in turns],
                [0.0 * turn for turn in turns],
                learned_GS={"information_gain": tuple(turns)},
            ),
        )


def igpo_paper(case):
    args = case["args"]
    for rows, group in igpo_groups(args["turn_rewards"], args["groups"]):
        (track,) = Igpo(gamma=args["gamma"])(group)
        for row, advantages in zip(rows, track.advantages_GS, strict=True):
            close(advantages, case["out"][row])


def igpo_released(case):
    """The reference on the attention mask: every position up to the end is a step."""
    mask, expected = array(case["args"]["mask"]), array(case["out"]["advantages"])
    rewards = array(DENSE["token_level_rewards_dense"])
    steps = [row[m > 0] for row, m in zip(rewards, mask, strict=True)]
    close(token_returns(rewards, mask, 1.0), case["out"]["returns"])
    for rows, group in igpo_groups(steps, DENSE["uid"]):
        (track,) = Igpo(form="released")(group)
        for row, advantages in zip(rows, track.advantages_GS, strict=True):
            close(advantages, expected[row][mask[row] > 0])


@differs("on the loss mask the reference forgets the return at every observation")
def igpo_reset(case):
    mask = array(case["args"]["mask"])
    rewards = array(DENSE["token_level_rewards_dense"])
    theirs = np.where(mask > 0, array(case["out"]["returns"]), 0.0)
    close(token_returns(rewards, mask, 1.0, "reset"), theirs)
    far(token_returns(rewards, mask, 1.0), theirs)


@differs("discounts per token and compares with the start of the attempts; unused by its trainer")
def igpo_discounted(case):
    mask, gamma = array(case["args"]["mask"]), case["args"]["gamma"]
    rewards = array(DENSE["token_level_rewards_dense"])
    returns = token_returns(rewards, mask, gamma, "reset")
    close(returns, np.where(mask > 0, array(case["out"]["returns"]), 0.0))
    advantages = np.zeros_like(returns)
    for rows in rows_by(DENSE["uid"]).values():
        start = returns[rows, 0]
        alone = len(rows) == 1
        mean, std = start.mean(), 1.0 if alone else start.std(ddof=1)
        scale = std + 1e-6 if "stdTrue" in case["name"] else 1.0
        advantages[rows] = (returns[rows] - mean) / scale * mask[rows]
    close(advantages, case["out"]["advantages"])
    steps = [row[m > 0] for row, m in zip(rewards, mask, strict=True)]
    ours = [
        advantages_S
        for _, group in igpo_groups(steps, DENSE["uid"])
        for advantages_S in Igpo(gamma=gamma)(group)[0].advantages_GS
    ]
    far(np.concatenate(ours), advantages[mask > 0])


IGPO_CHECKS = {
    "paper_formula_*": igpo_paper,
    "released_attention_mask": igpo_released,
    "released_loss_mask": igpo_reset,
    "discounted_*": igpo_discounted,
}


@each_case("igpo.json", IGPO_CHECKS)
def test_igpo(check, case):
    check(case)


# --- Tree-GRPO

TREE = load("tree_grpo.json")[0]
TREE_MASK = array(TREE["mask"])
LOSSES = load("verl_losses.json")[0]


def tree(compare, singleton="raw"):
    def check(case):
        credit = TreeGrpo(compare=compare, singleton=singleton)
        scores = array(TREE["token_level_rewards"]).sum(1)
        advantages = np.empty_like(scores)
        for rows in rows_by(TREE["uid"]).values():
            group = signals(
                scores[rows],
                [[0.0]] * len(rows),
                trees_G=tuple(TREE["tree_uid"][row] for row in rows),
            )
            advantages[rows] = concatenated(credit(group))
        close(advantages[:, None] * TREE_MASK, case["out"])

    return check


@differs("compares tokens, so where a reward stands is graded, and observations count as zeros")
def tree_per_token(case):
    scores = array(TREE["token_level_rewards"]).sum(1)
    ours = attempt_advantages(Grpo(singleton="raw"), scores, TREE["uid"])
    far(ours[:, None] * TREE_MASK, case["out"])


def tree_loss(ratio):
    def check(case):
        args, rows = case["args"], case["args"]["rows"]
        log_probs = tensor([LOSSES["log_prob"][row] for row in rows], grad=True)
        mask = tensor([LOSSES["response_mask"][row] for row in rows])
        mode = case["name"].split("_")[-1].replace("-", "_")
        loss, metrics = policy_loss(
            log_probs,
            tensor([LOSSES["old_log_prob"][row] for row in rows]),
            tensor([LOSSES["advantages_seq"][row] for row in rows]),
            mask,
            objective=Objective(ratio, "ppo", mode, Bounds(dual_clip=args["clip_ratio_c"])),
            totals=Totals.of(mask),
            turn_BT=torch.tensor([args["turns_mask"][row] for row in rows]),
        )
        loss.backward()
        close(loss, case["out"]["loss"])
        close(log_probs.grad, [case["out"]["grad"][row] for row in rows])
        close(metrics["clip_fraction"], case["out"]["clipfrac"])

    return check


TREE_CHECKS = {
    "inter_tree": tree("inter"),
    "inner_tree": tree("inner"),
    "tree": tree("both"),
    "tree_2norm": tree("nested"),
    "per_token_inter": tree_per_token,
    "turn_ratio_loss_*": tree_loss("turn"),
    "gspo_loss_*": tree_loss("sequence_token"),
}


@each_case("tree_grpo.json", TREE_CHECKS)
def test_tree_grpo(check, case):
    check(case)


# --- Reward-SQL: a step is a run of equal non-zero token rewards; more than 1 means it is right


def step_scores(row):
    """Outcome, score and tokens of each step of a row of token rewards, as the reference has it."""
    outcome = float(row.max() > 1.0)
    runs = [
        (value - outcome, np.flatnonzero((row == value) & (row != 0)))
        for value in dict.fromkeys(row[row != 0].tolist())
    ]
    return outcome, runs or [(0.0, np.array([], dtype=int))]


def reward_sql_dense(case):
    rewards, keys = array(case["args"]["token_level_rewards"]), case["args"]["index"]
    for rows in rows_by(keys).values():
        found = [step_scores(rewards[row]) for row in rows]
        scores = tuple(np.array([score for score, _ in runs]) for _, runs in found)
        group = signals(
            [outcome for outcome, _ in found],
            [0.0 * score_S for score_S in scores],
            learned_GS={"step_score": scores},
        )
        (track,) = RewardSql()(group)
        for row, advantages, (_, runs) in zip(rows, track.advantages_GS, found, strict=True):
            tokens = np.zeros(rewards.shape[1])
            for advantage, (_, where) in zip(advantages, runs, strict=True):
                tokens[where] = advantage
            close(tokens, case["out"][row])


@differs("an attempt without any reward gets no gradient there, so failing is never unlearned")
def reward_sql_sparse(case):
    failed = array(case["args"]["token_level_rewards"]).sum(1) == 0
    assert (array(case["out"])[failed] == 0).all()
    scores = {"step_score": (np.zeros(1),) * 4}
    (track,) = RewardSql()(signals([1, 0, 1, 0], [[0.0]] * 4, learned_GS=scores))
    close(np.concatenate(track.advantages_GS), [0.0, -0.866023898, 0.0, -0.866023898])


def best_of_n(case):
    close(
        ATTEMPT_SCORES[case["args"]["strategy"]](np.array(case["args"]["step_scores"])),
        case["out"],
    )


@differs("all tokens of a step carry its credit and every token belongs to one: nothing to fill")
def backfill(case):
    args = case["args"]
    filled = args["rm_coef"] * np.repeat([0.8, 0.4], [3, 3])
    close(filled, case["out"][0][:6])


REWARD_SQL_CHECKS = {
    "process_adv_dense": reward_sql_dense,
    "process_adv_sparse_01": reward_sql_sparse,
    "bon_score_*": best_of_n,
    "prm_backfill": backfill,
}


@each_case("reward_sql.json", REWARD_SQL_CHECKS)
def test_reward_sql(check, case):
    check(case)


# --- SPA-RL


@differs("the trainer weighs step k by the number of steps after it, so the last counts nothing")
def spa_placement(case):
    for score, theirs, kl in zip(
        case["args"]["scores"],
        array(case["out"]["rewards"]),
        array(case["out"]["non_score_rewards"]),
        strict=True,
    ):
        learned = {"progress": (np.array(score),), "grounding": (np.zeros(len(score)),)}
        rewards = Spa().rewards(signals([1.0], [[0.0] * len(score)], learned_GS=learned))
        close(rewards, score)
        placed = (theirs - kl)[theirs != kl]
        close(placed, (rewards * np.arange(len(score))[::-1])[:-1].tolist())


@differs("the reference drops scores without a step silently; here one is asked for per step")
def spa_too_many(case):
    with pytest.raises(ValueError, match="expected one 'progress' value per step"):
        signals([1.0], [[0.0, 0.0]], learned_GS={"progress": (array(case["args"]["scores"][0]),)})


@differs("the script overwrites learned progress by the outcome against the other attempts")
def spa_leave_one_out(case):
    rows = case["args"]["annotations"]
    outcome = attempt_advantages(
        Rloo(singleton="raw"), [row["r"] for row in rows], [row["id"] for row in rows]
    )
    for row, advantage, expected in zip(rows, outcome, case["out"], strict=True):
        grounded = ["Nothing happens" not in reply for reply in row["obs"][1:]] + [True]
        theirs = advantage + 0.5 * np.array(grounded)
        close(theirs, expected)
        learned = {"progress": (np.full(len(expected), 0.25),), "grounding": (np.array(grounded),)}
        group = signals([row["r"]], [[0.0] * len(expected)], learned_GS=learned)
        far(Spa(beta=0.5).rewards(group), expected)


def spa_estimator(case):
    args = case["args"]
    contributions = tensor(args["step_contributions"], grad=True)
    loss = contribution_loss(
        contributions, tensor(args["step_mask"]), tensor(args["final_reward"])
    )
    loss.backward()
    close(loss, case["out"]["loss"])
    close(contributions.grad, case["out"]["grad"])


SPA_CHECKS = {
    "compute_rewards_released": spa_placement,
    "compute_rewards_more_scores_than_steps": spa_too_many,
    "rl_data_org_leave_one_out": spa_leave_one_out,
    "progress_estimator_mse": spa_estimator,
}


@each_case("spa_rl.json", SPA_CHECKS)
def test_spa_rl(check, case):
    check(case)


# --- PAV


def pav(case):
    args, out = case["args"], case["out"]
    chances = [prover.best_of(np.array(q), args["K"]) for q in args["Q_pi_prefix_values"]]
    learned = {
        "prover_before": tuple(chance[:-1] for chance in chances),
        "prover_after": tuple(chance[1:] for chance in chances),
    }
    group = signals(
        args["outcomes"], [np.zeros(chance.size - 1) for chance in chances], learned_GS=learned
    )
    progress = split(prover.progress(group), group)
    for attempt, chance in enumerate(chances):
        close(chance, out["Q_BoK"][attempt])
        close(progress[attempt], out["A_mu"][attempt])
        close(progress[attempt].sum(), out["sum_A"][attempt])
        close(chance[-1] - chance[0], out["telescoped"][attempt])
        reward = args["alpha"] * progress[attempt]
        reward[-1] += args["outcomes"][attempt]
        close(reward, out["per_step_reward_outcome_last_plus_alpha_A"][attempt])
    (track,) = prover.Pav(alpha=args["alpha"])(group)
    mean = np.mean(args["outcomes"])
    for attempt, advantages in enumerate(track.advantages_GS):
        expected = args["outcomes"][attempt] - mean + args["alpha"] * progress[attempt]
        close(advantages, expected.tolist())


def monte_carlo(case):
    args, out = case["args"], case["out"]
    chance = np.array(args["successes"]) / args["n_mc"]
    close(chance, out["Q_hat"])
    close(prover.best_of(chance, 4), out["Q_Bo4_plug_in"])
    unbiased = [prover.pass_at_k(c, args["n_mc"], 4) for c in args["successes"]]
    close(unbiased, out["Q_Bo4_unbiased_pass_at_k"])


def beam(case):
    args = case["args"]
    close(
        prover.search_score(np.array(args["Q_pi"]), np.array(args["A_mu"]), args["alpha"]),
        case["out"],
    )


PAV_CHECKS = {"pav_K*": pav, "mc_estimate": monte_carlo, "beam_score": beam}


@each_case("pav.json", PAV_CHECKS)
def test_pav(check, case):
    check(case)

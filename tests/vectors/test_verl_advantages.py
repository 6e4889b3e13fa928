import numpy as np
from vector_cases import (
    array,
    attempt_advantages,
    close,
    differs,
    each_case,
    far,
    load,
    on_mask,
    rows_by,
    token_rows,
)

from agents.credit import (
    DrGrpo,
    Gae,
    Gpg,
    Grpo,
    Opo,
    PassAtK,
    ReinforcePp,
    ReinforcePpBaseline,
    ReMax,
    Rloo,
    assign,
    signals,
)
from agents.credit.tokens import optimal_token_baseline, token_gae, token_returns, whiten

FILE = "verl_advantages.json"
INPUTS, _ = load(FILE)
MASK = array(INPUTS["response_mask"])


def rewards_of(case):
    return array(INPUTS["token_level_rewards_" + case["name"].split("_")[-1]])


def rewards_named(case):
    return array(INPUTS[case["args"]["rewards"]])


def per_attempt(estimator, **more):
    """A check: one score per row, spread over the mask."""

    def check(case):
        more_values = {name: value() for name, value in more.items()}
        scores = rewards_named(case).sum(1)
        advantages = attempt_advantages(estimator, scores, INPUTS["uid"], **more_values)
        close(advantages[:, None] * MASK, case["out"]["advantages"])

    return check


def pass_at_k(case):
    rows = case["args"]["rows"]
    scores = array(INPUTS["token_level_rewards_outcome"])[rows].sum(1)
    keys = [INPUTS["uid"][row] for row in rows]
    advantages = attempt_advantages(PassAtK(), scores, keys)
    close(advantages[:, None] * MASK[rows], case["out"]["advantages"])


def step_groups(rewards, **learned):
    """One group per row whose steps are its sampled tokens; rewards are process rewards."""
    rows = token_rows(rewards, MASK)
    per_token = {name: token_rows(values, MASK) for name, values in learned.items()}
    return [
        signals([0.0], [row], learned_GS={n: (v[i],) for n, v in per_token.items()})
        for i, row in enumerate(rows)
    ]


def flat(credits):
    return np.concatenate([track.advantages_GS[0] for (track,) in credits])


def reinforce_pp(case):
    gamma = case["args"]["gamma"]
    returns = token_returns(rewards_named(case), MASK, gamma)
    close(returns, case["out"]["returns"])
    close(whiten(returns, MASK), case["out"]["advantages"])
    by_step = assign(
        ReinforcePp(gamma=gamma, process_weight=1.0), step_groups(rewards_named(case))
    )
    close(flat(by_step), on_mask(case["out"]["advantages"], MASK))


def reinforce_pp_reset(case):
    returns = token_returns(array(INPUTS["token_level_rewards_outcome"]), MASK, 1.0, "reset")
    close(on_mask(returns, MASK), on_mask(case["out"]["returns"], MASK))
    close(whiten(returns, MASK), case["out"]["advantages"])


def reinforce_pp_baseline(case):
    """Every sampled token is a step, so that tokens weigh in the whitening."""
    expected = array(case["out"]["advantages"])
    scores, groups = rewards_named(case).sum(1), rows_by(INPUTS["uid"]).values()
    tokens = [np.zeros(int(row.sum())) for row in MASK]
    batch = [signals(scores[rows], [tokens[row] for row in rows]) for rows in groups]
    credits = assign(ReinforcePpBaseline(singleton="raw"), batch)
    by_step = np.concatenate([a for (track,) in credits for a in track.advantages_GS])
    close(by_step, expected[MASK > 0])


def gae(case):
    gamma, lam = case["args"]["gamma"], case["args"]["lam"]
    values = array(INPUTS["values"])
    raw = token_gae(rewards_named(case), values, MASK, gamma, lam)
    close(raw, np.where(MASK > 0, array(case["out"]["raw_advantages"]), 0.0))
    # the reference leaves whitened numbers on masked tokens too; they are never used
    expected = on_mask(case["out"]["advantages_whitened"], MASK)
    close(on_mask(whiten(raw, MASK), MASK), expected)
    groups = step_groups(rewards_named(case), values=values)
    close(flat(assign(Gae(gamma=gamma, lam=lam, process_weight=1.0), groups)), expected)


def remax(case):
    rewards = array(INPUTS["token_level_rewards_dense"])
    greedy = array(case["args"]["reward_baselines"])[:, None] * np.ones_like(rewards)
    returns = token_returns(rewards, np.ones_like(MASK), 1.0)
    close(returns, case["out"]["returns"])
    credits = assign(ReMax(process_weight=1.0), step_groups(rewards, greedy=greedy))
    close(flat(credits), on_mask(case["out"]["advantages"], MASK))


def tokens_of_rows():
    return MASK.sum(1)


def otb(case):
    returns = token_returns(array(INPUTS["token_level_rewards_outcome"]), np.ones_like(MASK), 1.0)
    close(returns, case["out"]["returns"])
    _, pool = np.unique(INPUTS["uid"], return_inverse=True)
    return optimal_token_baseline(
        returns, array(INPUTS["old_log_probs"]), array(INPUTS["sum_pi_squared"]), MASK, pool
    )


def tir_otb(case):
    close(otb(case), case["out"]["advantages"])


@differs("compares columns, so tokens of one turn are the baseline of observations of another")
def otb_by_column(case):
    far(otb(case), case["out"]["advantages"])


def masked_whiten(case):
    values = array(INPUTS["values"])
    expected = np.where(MASK > 0, array(case["out"]["whitened"]), 0.0)
    close(whiten(values, MASK), expected)


raw_grpo = Grpo(singleton="raw")
CHECKS = {
    "grpo_std_*": per_attempt(raw_grpo),
    "grpo_vectorized_*": per_attempt(raw_grpo),
    "drgrpo_*": per_attempt(DrGrpo(singleton="raw")),
    "rloo_outcome": per_attempt(Rloo(singleton="raw")),
    "rloo_dense": per_attempt(Rloo(singleton="raw")),
    "rloo_vectorized_*": per_attempt(Rloo()),
    "reinforce_pp_outcome_g?.?": reinforce_pp,
    "reinforce_pp_dense_g?.?": reinforce_pp,
    "reinforce_pp_outcome_g1_OLD_v0.7.1": reinforce_pp_reset,
    "reinforce_pp_baseline_*": reinforce_pp_baseline,
    "opo_*": per_attempt(Opo(singleton="raw"), tokens=tokens_of_rows),
    "gpg_*": per_attempt(Gpg(singleton="raw")),
    "gae_*": gae,
    "grpo_passk": pass_at_k,
    "remax_dense": remax,
    "tir_otb_outcome": tir_otb,
    "otb_outcome": otb_by_column,
    "masked_whiten_values": masked_whiten,
}


@each_case(FILE, CHECKS)
def test_verl_advantages(check, case):
    check(case)


def test_whitening_a_single_token_gives_zero():
    assert whiten(np.ones((1, 2)), np.array([[1.0, 0.0]])).tolist() == [[0.0, 0.0]]

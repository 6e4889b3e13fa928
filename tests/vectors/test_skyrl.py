import math

from vector_cases import array, attempt_advantages, close, each_case, load, on_mask, tensor

from agents.credit import Grpo, MaxRl, Rloo
from agents.credit.tokens import token_gae, token_returns, whiten
from agents.losses import (
    Bounds,
    Objective,
    Totals,
    importance_weights,
    policy_loss,
    reduce,
    rejection_mask,
)

FILE = "skyrl.json"
ADV, LOSS = load("verl_advantages.json")[0], load("verl_losses.json")[0]
ADV_MASK = array(ADV["response_mask"])
MASK = tensor(LOSS["response_mask"])
ROLLOUT = tensor(load("verl_rollout_correction.json")[0]["rollout_log_prob"])
OLD = tensor(LOSS["old_log_prob"])
SEQUENCES = Totals(tokens=MASK.sum().item(), sequences=len(MASK))  # masked rows count there


def rewards_of(case):
    return array(ADV["token_level_rewards_" + case["name"].split("_")[1]])


def per_attempt(case):
    name = case["name"]
    scores = rewards_of(case).sum(1)
    estimator = {
        "grpo": Grpo(scale="unbiased" if "stdTrue" in name else "none", singleton="raw"),
        "rloo": Rloo(),
        "maxrl": MaxRl(singleton="raw"),
    }[name.split("_")[0]]
    close(attempt_advantages(estimator, scores, ADV["uid"])[:, None] * ADV_MASK, case["out"])


def reinforce_pp(case):
    gamma = float(case["name"].split("_g")[1])
    returns = token_returns(rewards_of(case), ADV_MASK, gamma, "reset")
    close(on_mask(returns, ADV_MASK), on_mask(case["out"]["returns"], ADV_MASK))
    close(whiten(returns, ADV_MASK), case["out"]["advantages"])


def gae(case):
    gamma, lam = (float(x[1:]) for x in case["name"].split("_")[2:])
    values = array(ADV["values"])
    raw = token_gae(rewards_of(case), values, ADV_MASK, gamma, lam, "through")
    close(on_mask(raw + values, ADV_MASK), on_mask(case["out"]["returns"], ADV_MASK))
    expected = on_mask(case["out"]["advantages"], ADV_MASK)
    close(on_mask(whiten(raw, ADV_MASK), ADV_MASK), expected)


def reduction(case):
    """Their reductions scale the advantages; that scale is the gradient of ours."""
    args, name = case["args"], case["name"].removeprefix("reduction_")
    prompts = args["prompt_boundaries"]
    prompt_tokens = tensor([0.0] * len(MASK))
    for start, end in prompts:
        prompt_tokens[start:end] = MASK[start:end].sum()
    ours = {
        "token_mean": "token_mean",
        "token_mean_legacy": "seq_mean_token_mean",  # with micro-batches of one row
        "sequence_mean": "seq_mean_token_mean",
        "seq_mean_token_sum_norm": "seq_mean_token_sum_norm",
        "prompt_mean": "prompt_mean",
    }[name]
    totals = Totals(MASK.sum().item(), len(MASK), args["max_seq_len"], len(prompts))
    advantages = tensor(LOSS["advantages_seq"], grad=True)
    log_probs = tensor(LOSS["log_prob"])
    total = reduce(log_probs * advantages, MASK, ours, totals, prompt_tokens)
    total.backward()
    close(total, case["out"]["sum_log_prob_weighted"])
    scaled = tensor(case["out"]["advantages"]) * MASK * log_probs
    close(advantages.grad * advantages, scaled)


def run(case, objective, weights=None):
    kind = "advantages_tok" if "tok" in case["args"]["advantages"].split() else "advantages_seq"
    log_probs = tensor(LOSS["log_prob"], grad=True)
    loss, metrics = policy_loss(
        log_probs,
        OLD,
        tensor(LOSS[kind]),
        MASK,
        objective=objective,
        totals=SEQUENCES,
        weights_BT=weights(log_probs) if callable(weights) else weights,
    )
    loss.backward()
    close(loss, case["out"]["loss"])
    close(log_probs.grad, case["out"]["grad"])
    close(metrics["clip_fraction"], case["out"]["metrics"]["clip_ratio"])


def policy(ratio="token", surrogate="ppo", weights=None):
    def check(case):
        config = case["args"]["cfg"]
        low, high = config["eps_clip_low"], config["eps_clip_high"]
        if surrogate == "cispo":
            low, high = (config["cispo"][f"cispo_eps_clip_{side}"] for side in ("low", "high"))
        dual = config["clip_ratio_c"] if config["policy_loss_type"] == "dual_clip" else None
        objective = Objective(ratio, surrogate, "seq_mean_token_mean", Bounds(low, high, dual))
        run(case, objective, weights(config["off_policy_correction"]) if weights else None)

    return check


def tis(level, cap):
    return lambda config: importance_weights(OLD, ROLLOUT, MASK, level=level, high=config[cap])


def row_mask(over, kind):
    def weights(config):
        low, high = (math.log(config[f"{kind}_mask_{side}"]) for side in ("low", "high"))
        return rejection_mask(OLD, ROLLOUT, MASK, over=over, low=low, high=high)

    return weights


def token_mask(config):
    low, high = (math.log(config[f"token_mask_is_threshold_{s}"]) for s in ("low", "high"))
    return rejection_mask(OLD, ROLLOUT, MASK, low=low, high=high)


def outlier_rows(config):
    """A row goes when one of its tokens is out of bounds: its largest, or its smallest."""
    low, high = (math.log(config[f"outlier_token_is_threshold_{s}"]) for s in ("low", "high"))
    below = rejection_mask(OLD, ROLLOUT, MASK, over="max", high=high)
    above = rejection_mask(ROLLOUT, OLD, MASK, over="max", high=-low)
    return below * above


def rollout_is(case):
    """The ratio to the rollout itself, without the tokens outside the clip range."""
    config = case["args"]["cfg"]

    def weights(log_probs):
        return importance_weights(
            log_probs.detach(),
            ROLLOUT,
            MASK,
            low=1 - config["eps_clip_low"],
            high=1 + config["eps_clip_high"],
            outside="zero",
        )

    log_probs = tensor(LOSS["log_prob"], grad=True)
    loss, _ = policy_loss(
        log_probs,
        OLD,
        tensor(LOSS["advantages_seq"]),
        MASK,
        objective=Objective(surrogate="reinforce", reduction="seq_mean_token_mean"),
        totals=SEQUENCES,
        weights_BT=weights(log_probs),
    )
    loss.backward()
    close(loss, case["out"]["loss"])
    close(log_probs.grad, case["out"]["grad"])


CHECKS = {
    "grpo_*": per_attempt,
    "rloo_*": per_attempt,
    "maxrl_*": per_attempt,
    "rfpp_*": reinforce_pp,
    "gae_*": gae,
    "reduction_*": reduction,
    "ppo_regular": policy(),
    "ppo_cliphigher": policy(),
    "ppo_dual_clip": policy(),
    "gspo": policy("sequence_token"),
    "gspo_tok": policy("sequence_token"),
    "cispo_*": policy(surrogate="cispo"),
    "rollout_is": rollout_is,
    "ppo_tis_token": policy(weights=tis("token", "token_tis_ratio_clip_high")),
    "ppo_tis_seq": policy(weights=tis("sequence", "sequence_tis_ratio_clip_high")),
    "ppo_seqmask_product": policy(weights=row_mask("sum", "product")),
    "ppo_seqmask_geo": policy(weights=row_mask("mean", "geo")),
    "ppo_token_mask": policy(weights=token_mask),
    "ppo_outlier": policy(weights=outlier_rows),
}


@each_case(FILE, CHECKS)
def test_skyrl(check, case):
    check(case)

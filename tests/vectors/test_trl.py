import numpy as np
import pytest
from vector_cases import array, attempt_advantages, close, differs, each_case, far, load, tensor

from agents.credit import Grpo, LitePpo, Rloo
from agents.credit.statistics import scale_within, standardize, standardize_within
from agents.losses import (
    RATIOS,
    Bounds,
    Objective,
    Totals,
    importance_weights,
    kl_penalty,
    off_policy_negatives_mask,
    policy_loss,
    reduce,
    top_entropy_mask,
)

FILE = "trl_grpo_1.16.json"
INPUTS, _ = load(FILE)
MASK = tensor(INPUTS["completion_mask"]) * tensor(INPUTS["tool_mask"])
OLD = tensor(INPUTS["old_log_prob"])
SAMPLING = tensor(INPUTS["sampling_log_prob"])
ADVANTAGES = tensor(INPUTS["advantages"])[:, None].expand_as(MASK)


# --- advantages: an attempt that no reward function could score is left out of its group


def scores_of(case):
    """The weighted sum of the rewards per row, NaN where there is none, and the group of a row."""
    args = case["args"]
    rewards = array(args["rewards_per_func"])
    weights = np.array(args.get("reward_weights", [1.0]))
    scores = np.nansum(rewards * weights, axis=1)
    scores[np.isnan(rewards).all(1)] = np.nan
    return scores, np.arange(len(scores)) // args["num_generations"]


def advantages(case):
    args = case["args"]
    if args["multi_objective_aggregation"] == "normalize_then_sum":
        return decoupled(case)
    estimator = {
        "group": Grpo(epsilon=1e-4),
        "batch": LitePpo(around_batch_mean=True, epsilon=1e-4),
        "none": Grpo(scale="none"),
    }[args["scale_rewards"]]
    scores, keys = scores_of(case)
    scorable = ~np.isnan(scores)
    ours = np.zeros_like(scores)
    ours[scorable] = attempt_advantages(estimator, scores[scorable], keys[scorable].tolist())
    close(ours, case["out"]["advantages"])


def decoupled(case):
    """Each reward is compared among the attempts that have it, as `gdpo.decoupled` does."""
    rewards = array(case["args"]["rewards_per_func"])
    scores, keys = scores_of(case)
    total = np.zeros(len(rewards))
    for weight, reward in zip(case["args"]["reward_weights"], rewards.T, strict=True):
        has = ~np.isnan(reward)
        total[has] += weight * standardize_within(reward[has], keys[has], "unbiased", 1e-4)
    scorable = ~np.isnan(scores)
    ours = np.zeros_like(total)
    centred = total[scorable] - total[scorable].mean()
    ours[scorable] = scale_within(centred, np.zeros(scorable.sum(), int), "unbiased", 1e-4)
    close(ours, case["out"]["advantages"])


def rloo(case):
    args = case["args"]
    scores, keys = scores_of(case)
    if "beta" in args:
        scores = scores - args["beta"] * array(args["log_old_minus_log_ref_per_token"]).sum(1)
        close(scores, case["out"]["rewards_after_kl"])
    scorable = ~np.isnan(scores)
    ours = np.zeros_like(scores)
    ours[scorable] = attempt_advantages(Rloo(), scores[scorable], keys[scorable].tolist())
    if args.get("normalize_advantages"):
        company = np.array([scorable[keys == key].sum() > 1 for key in keys])
        compared = scorable & company if company.any() else scorable
        ours[compared] = standardize(ours[compared], "unbiased", 1e-4)
    close(ours, case["out"]["advantages"])


# --- losses

ROWS = len(MASK)  # rows without a trained token count there
TOKENS = MASK.sum().item()


def reduction_of(args):
    """Name and counts of a loss type; accumulation steps count as so many more such batches."""
    steps = args.get("gas", 1)
    tokens = TOKENS * steps / args.get("spg", steps)
    length = args.get("max_completion_length", 512)
    kind = args.get("loss_type", "dapo")
    name = {
        "grpo": "seq_mean_token_mean",
        "sapo": "seq_mean_token_mean",
        "dr_grpo": "seq_mean_token_sum_norm",
        "luspo": "seq_mean_token_sum",
    }.get(kind, "token_mean")
    if name != "token_mean":
        return name, Totals(TOKENS, ROWS * steps, length)
    return name, Totals(tokens, ROWS)


def objective_of(args):
    kind = args.get("loss_type", "dapo")
    low, high = args.get("eps_low", 0.2), args.get("eps_high", 0.2)
    if kind == "cispo":
        low, high = 1.0, high - 1.0  # their only bound is absolute
    surrogate = kind if kind in ("cispo", "sapo", "vespo") else "ppo"
    name, totals = reduction_of(args)
    bounds = Bounds(low, high, dual_clip=args.get("delta"))
    return Objective(args.get("level", "token"), surrogate, name, bounds, None), totals


def weights_of(args, log_probs):
    if "topq" in args:
        return top_entropy_mask(tensor(INPUTS["entropies"]), MASK, args["topq"])
    if "opsm" in args:
        return off_policy_negatives_mask(log_probs, OLD, ADVANTAGES, MASK, args["opsm"])
    if "vmode" not in args:
        return None
    level, action = args["vmode"].split("_")
    return importance_weights(
        OLD,
        SAMPLING,
        MASK,
        level=level,
        low=args.get("cmin"),
        high=args.get("cmax", 3.0),
        outside="zero" if action == "mask" else "truncate",
    )


def run(case):
    args = case["args"]
    log_probs = tensor(INPUTS["log_prob"], grad=True)
    objective, totals = objective_of(args)
    old = log_probs.detach() if args.get("old") is False else OLD
    weights = weights_of(args, log_probs)
    if args.get("loss_type") == "vespo" and weights is not None:
        # the weight is of the ratio to the sampler, so the correction belongs into it
        old, weights = old - weights.log(), None
    loss, metrics = policy_loss(
        log_probs,
        old,
        ADVANTAGES,
        MASK,
        objective=objective,
        totals=totals,
        weights_BT=weights,
    )
    if "beta" in args:
        penalty = kl_penalty(log_probs, tensor(INPUTS["ref_per_token_logps"]), "k3")
        if args.get("ubc", True):
            penalty = penalty * RATIOS[objective.ratio]((log_probs - OLD) * MASK, MASK, None)
        loss = loss + args["beta"] * reduce(penalty, MASK, objective.reduction, totals)
    loss.backward()
    return loss, log_probs.grad, metrics, weights


def loss(case):
    total, grad, metrics, weights = run(case)
    close(total, case["out"]["loss"])
    close(grad, case["out"]["grad"])
    recorded = case["out"]["metrics"].get("clip_ratio/region_mean")
    if recorded is not None and case["args"].get("level", "token") == "token":
        scale = objective_of(case["args"])[1].tokens / TOKENS
        close(metrics["clip_fraction"] * scale, recorded)
    if weights is not None and "importance_sampling_ratio" in case["out"]:
        theirs = tensor(case["out"]["importance_sampling_ratio"]).expand_as(MASK)
        close(weights * MASK, theirs * MASK)


@differs("without an explicit bound the reference caps every weight at 0.2, also that of r = 1")
def cispo_capped(case):
    with pytest.raises(ValueError, match="clip must not be negative"):
        run(case)
    constant = -0.2 * ADVANTAGES * tensor(INPUTS["log_prob"])
    close(reduce(constant, MASK, "token_mean", Totals(TOKENS, ROWS)), case["out"]["loss"])


@differs("takes the product of all ratios of a row, which leaves any bound as rows get longer")
def rloo_product(case):
    args = case["args"]
    mask = tensor(INPUTS["completion_mask"])
    ours, _ = policy_loss(
        tensor(INPUTS["log_prob"]),
        OLD,
        ADVANTAGES,
        mask,
        objective=Objective("sequence", "ppo", "seq_mean_token_mean"),
        totals=Totals(TOKENS, ROWS),
    )
    assert args["epsilon_low"] == 0.2
    far(ours, case["out"]["loss"])


CHECKS = {
    "adv_*": advantages,
    "rloo_adv_*": rloo,
    "rloo_loss_sequence_sum": rloo_product,
    "loss_*": loss,
    "loss_cispo_token": cispo_capped,
    "loss_cispo_sequence": cispo_capped,
}


@each_case(FILE, CHECKS)
def test_trl(check, case):
    check(case)

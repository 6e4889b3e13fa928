import math

import numpy as np
import torch
from vector_cases import array, close, differs, each_case, far, load, tensor

from agents.credit.selection import overlong_penalty
from agents.credit.statistics import normalize
from agents.credit.tokens import token_gae
from agents.losses import (
    Bounds,
    Objective,
    Totals,
    importance_weights,
    interpolated_proximal,
    policy_loss,
    rejection_mask,
    second_moment_mask,
)

FILE = "areal.json"
INPUTS, _ = load(FILE)
EPSILON = 1e-5


def blocks(size, count):
    return np.arange(count) // size


def normalization(case):
    args = case["args"]
    rewards = array(INPUTS["rewards"])
    ours = normalize(
        rewards,
        blocks(args["group_size"], rewards.size),
        mean_over=args["mean_level"] or "none",
        scale_over=args["std_level"] or "none",
        leave_one_out=args["mean_leave1out"],
        scale="unbiased" if args["std_unbiased"] else "biased",
        epsilon=args["eps"],
    )
    close(ours, case["out"])


def groups_of_one(case):
    args = case["args"]
    rewards = array(args["x"])
    ours = normalize(
        rewards, blocks(1, rewards.size), leave_one_out=args["mean_leave1out"], epsilon=EPSILON
    )
    assert (ours == 0).all()
    return ours


def lone(case):
    close(groups_of_one(case), case["out"])


@differs("without others the reference subtracts 0 and divides by 1 or by the reward itself")
def lone_leave_one_out(case):
    far(groups_of_one(case), case["out"])


def masked(case):
    args = case["args"]
    mask, x = array(args["loss_mask"]) > 0, array(args["x"])
    ours = np.zeros_like(x)
    ours[mask] = normalize(
        x[mask],
        blocks(1, int(mask.sum())),
        mean_over="batch",
        scale_over="batch",
        leave_one_out=args["mean_leave1out"],
        epsilon=EPSILON,
    )
    close(ours, case["out"])


# --- advantages: everything is shifted by one, since column t predicts token t + 1

ADV = INPUTS["adv_inputs"]
ADV_MASK = np.roll(array(ADV["loss_mask(unshifted)"]), -1, axis=1)
ADV_MASK[:, -1] = 0.0
LENGTHS = array(ADV["attention_mask"]).sum(1).astype(int)


def placed(scores):
    rewards = np.zeros_like(ADV_MASK)
    rewards[np.arange(len(scores)), LENGTHS - 2] = scores
    return rewards


def check_on_mask(ours, expected):
    close(np.where(ADV_MASK > 0, ours, 0.0), np.where(ADV_MASK > 0, array(expected), 0.0))


def advantages(case):
    args = case["args"]
    scores = array(ADV["rewards"])
    if args["mask_no_eos_with_zero"]:
        scores = np.where(LENGTHS == ADV_MASK.shape[1], 0.0, scores)
    log_probs = np.roll(array(ADV["logprobs(from inference, unshifted)"]), -1, axis=1)
    difference = log_probs - array(ADV["ref_logp(already shifted by engine)"])
    rewards = placed(scores) - args["kl_ctl"] * difference * ADV_MASK
    values = array(ADV["values"]) if args["use_values"] else np.zeros_like(rewards)
    cut_off = np.where(LENGTHS == ADV_MASK.shape[1], values[:, -1], 0.0)
    ours = token_gae(
        rewards, values, ADV_MASK, args["discount"], args["gae_lambda"], after_B=cut_off
    )
    check_on_mask(ours, case["out"]["advantages"])
    check_on_mask(ours + values, case["out"]["returns"])
    check_on_mask(rewards, case["out"]["tot_rewards"])


def advantages_with_norms(case):
    scores = np.clip((array(ADV["rewards"]) - 0.5) * 10.0, -20, 20)
    scores = normalize(scores, blocks(2, scores.size), epsilon=EPSILON)
    returns = token_gae(placed(scores), np.zeros_like(ADV_MASK), ADV_MASK, 1.0, 1.0)
    check_on_mask(returns, case["out"]["returns"])
    sampled = ADV_MASK > 0
    ours = np.zeros_like(returns)
    pool = blocks(1, int(sampled.sum()))
    ours[sampled] = normalize(
        returns[sampled], pool, mean_over="batch", scale_over="batch", epsilon=EPSILON
    )
    check_on_mask(ours, case["out"]["advantages"])


# --- losses

LOSS = INPUTS["loss_inputs"]
MASK = tensor(LOSS["loss_mask"])
BEHAVIOUR, PROXIMAL = tensor(LOSS["old_logprobs(behave)"]), tensor(LOSS["proximal_logprobs"])
ADVANTAGES = tensor(LOSS["advantages"])


def correction(settings):
    """AReaL's rejection sampling as (weights, mask of what is kept)."""
    low, high = settings["lower"], settings["upper"]
    clamp = settings["action"] == "clamp"
    ratio = settings["metric"] == "ratio"
    geometric = ratio and settings["level"] == "sequence"
    weights = importance_weights(
        PROXIMAL,
        BEHAVIOUR,
        MASK,
        level="geometric" if geometric else "token",
        low=low if clamp else None,
        high=high if clamp else None,
    )
    if clamp:
        return weights, MASK
    inverse = settings["metric"] == "kl_k3"  # the reference takes exp(-x) - 1 + x
    keep = rejection_mask(
        *((BEHAVIOUR, PROXIMAL) if inverse else (PROXIMAL, BEHAVIOUR)),
        MASK,
        measure="k1" if ratio else settings["metric"].removeprefix("kl_"),
        over=settings["agg"] if settings["level"] == "sequence" else "token",
        low=math.log(low) if ratio and low else low,
        high=math.log(high) if ratio else high,
    )
    return weights * keep, keep


def run(case, objective, advantages_BT=ADVANTAGES, weights=None):
    log_probs = tensor(LOSS["logprobs"], grad=True)
    loss, metrics = policy_loss(
        log_probs,
        PROXIMAL,
        advantages_BT,
        MASK,
        objective=objective,
        totals=Totals.of(MASK),
        weights_BT=weights,
    )
    loss.backward()
    close(loss, case["out"]["loss"])
    grad = log_probs.grad
    close(grad.flatten() if "packed" in case["name"] else grad, case["out"]["grad"])
    return metrics


def bounds_of(args):
    low = args["eps_clip"]
    return Bounds(low, args.get("eps_clip_higher", low), dual_clip=args.get("c_clip"))


def ppo(case):
    metrics = run(case, Objective(bounds=bounds_of(case["args"]), log_ratio_limit=None))
    close(metrics["clip_fraction"], (array(case["out"]["clip_mask"]).sum() / MASK.sum()).item())


def decoupled(case):
    args = case["args"]
    weights, keep = correction(args["rejection_sampling"])
    run(case, Objective(bounds=bounds_of(args)), weights=weights)
    close(weights, case["out"]["behave_imp_weight"])
    if args["rejection_sampling"]["action"] == "mask":
        close(1.0 - keep.sum() / MASK.sum(), case["out"]["filtered_fraction"])


def gspo(case):
    """The reference averages the advantages of a row first; here that is up to the estimator."""
    args = case["args"]
    count = MASK.sum(1, keepdim=True).clamp(min=1)
    mean = ((ADVANTAGES * MASK).sum(1, keepdim=True) / count).expand_as(MASK)
    weights = None
    if "rejection_sampling" in args:
        weights, _ = correction(args["rejection_sampling"])
    run(case, Objective(ratio="sequence", bounds=Bounds(0.2, 0.2)), mean, weights)


def sapo(case):
    args = case["args"]
    taus = Bounds(tau_positive=args["tau_pos"], tau_negative=args["tau_neg"])
    run(case, Objective(surrogate="sapo", bounds=taus))


def proximal(case):
    args, versions = case["args"], torch.tensor(case["args"]["versions"])
    log_probs = tensor(LOSS["logprobs"])
    stale = (log_probs, BEHAVIOUR, versions, args["current_version"])
    close(interpolated_proximal(*stale), case["out"]["loglinear"])
    close(interpolated_proximal(*stale, space="probability"), case["out"]["linear"])
    close(BEHAVIOUR, case["out"]["rollout"])


def m2po(case):
    ours = second_moment_mask(PROXIMAL, BEHAVIOUR, MASK, case["args"]["m2_threshold"])
    close(ours, case["out"])


def overlong(case):
    args = case["args"]
    ours = np.array(args["rewards"]) + overlong_penalty(
        np.array(args["response_lengths"]),
        args["max_response_length"],
        args["overlong_tokens"],
        factor=args["factor"],
    )
    close(ours, case["out"])


@differs("how many rollouts may run ahead is the business of a distributed sampler, not a loss")
def staleness(case):
    assert min(record["capacity"] for record in case["out"]) < 0  # and it can be overdrawn


CHECKS = {
    "norm_mean-*": normalization,
    "norm_group1_l1oFalse_*": lone,
    "norm_group1_l1oTrue_*": lone_leave_one_out,
    "norm_masked2d_*": masked,
    "advantages_plain": advantages,
    "advantages_kl0.1": advantages,
    "advantages_values_*": advantages,
    "advantages_gsm8k_grpo_yaml": advantages_with_norms,
    "ppo_*": ppo,
    "decoupled_*": decoupled,
    "gspo_*": gspo,
    "sapo": sapo,
    "prox_logp_approximations_v5": proximal,
    "m2po_mask_0.3": m2po,
    "overlong_penalty": overlong,
    "staleness_capacity": staleness,
}


@each_case(FILE, CHECKS)
def test_areal(check, case):
    check(case)

import math

import numpy as np
import torch
from vector_cases import array, attempt_advantages, close, each_case, load, tensor

from agents.credit import Grpo, Rloo
from agents.credit.tokens import token_gae, token_returns, whiten
from agents.losses import (
    Bounds,
    Objective,
    Totals,
    importance_weights,
    policy_loss,
    rejection_mask,
)

FILE = "openrlhf.json"
INPUTS, _ = load(FILE)
MASK = array(INPUTS["action_mask"])
SCORES = array(INPUTS["rewards"])
KEYS = np.arange(len(SCORES)) // INPUTS["n_samples_per_prompt"]
LOSS = load("verl_losses.json")[0]
ROLLOUT = tensor(load("verl_rollout_correction.json")[0]["rollout_log_prob"])

SHAPED = {
    "reinforce": lambda scores: scores,
    "gae": lambda scores: scores,
    "rloo": lambda scores: attempt_advantages(Rloo(), scores, KEYS.tolist()),
    "reinforce_baseline": lambda scores: attempt_advantages(
        Grpo(scale="none"), scores, KEYS.tolist()
    ),
    "dr_grpo": lambda scores: attempt_advantages(Grpo(scale="none"), scores, KEYS.tolist()),
    "group_norm": lambda scores: attempt_advantages(Grpo(epsilon=1e-9), scores, KEYS.tolist()),
}
WHITENED = {"reinforce", "reinforce_baseline", "gae"}


def token_rewards(scores, kl_coefficient):
    """The score at the last sampled token, and minus the penalty on every sampled one."""
    rewards = -kl_coefficient * array(INPUTS["kl"]) * MASK
    last = MASK.shape[1] - 1 - MASK[:, ::-1].argmax(1)
    rewards[np.arange(len(scores)), last] += scores
    return rewards


def on_mask(values):
    return np.where(MASK > 0, array(values), 0.0)


def advantages(case):
    args = case["args"]
    name = args.get("estimator", "reinforce_baseline" if "no_std_norm" in args else "reinforce")
    gamma = args.get("gamma", 1.0)
    rewards = token_rewards(SHAPED[name](SCORES), args.get("kl_coef", 0.0))
    if name == "gae":
        values = array(INPUTS["values"])
        raw = token_gae(rewards, values, MASK, gamma, args["lambd"], "through")
        close(raw + on_mask(values), on_mask(case["out"]["returns"]))
    else:
        raw = token_returns(rewards, MASK, gamma, "through")
        close(raw, on_mask(case["out"]["returns"]))
    if name in WHITENED:
        # the reference whitens with the biased deviation, and does not mask the result
        scale = "none" if args.get("no_std_norm") else "biased"
        raw = whiten(raw, MASK, scale, epsilon=0.0)
    close(raw, on_mask(case["out"]["advantages"]))


def correction(args, rows):
    if not args.get("enable_vllm_is_correction"):
        return None
    low, high = args["vllm_is_truncated_threshold"]
    pair = (tensor(LOSS["old_log_prob"])[rows], ROLLOUT[rows], tensor(LOSS["response_mask"])[rows])
    kind = args.get("vllm_is_correction_type", "tis")
    if kind == "seq-mask-tis":
        keep = rejection_mask(*pair, over="mean", low=math.log(low), high=math.log(high))
        return importance_weights(*pair, high=None) * keep
    outside = "zero" if kind == "icepop" else "truncate"
    return importance_weights(*pair, low=low, high=high, outside=outside)


def loss(case):
    args = case["args"]
    rows = args["rows"]
    log_probs = tensor(LOSS["log_prob"], grad=True)
    mask = tensor(LOSS["response_mask"])[rows]
    gspo = args.get("policy_loss_type") == "gspo"
    by_row = gspo or args.get("token_level_loss") is False
    objective = Objective(
        "sequence" if gspo else "token",
        "ppo",
        "seq_mean_token_mean" if by_row else "token_mean",
        Bounds(0.2, args.get("clip_eps_high", 0.2), dual_clip=args.get("dual_clip")),
    )
    total, metrics = policy_loss(
        log_probs[rows],
        tensor(LOSS["old_log_prob"])[rows],
        tensor(LOSS["advantages_seq"])[rows],
        mask,
        objective=objective,
        totals=Totals.of(mask),
        weights_BT=correction(args, rows),
    )
    total.backward()
    close(total, case["out"]["loss"])
    close(log_probs.grad, case["out"]["grad"])
    close(metrics["clip_fraction"], case["out"]["clip_ratio"])
    assert torch.isfinite(total)


CHECKS = {
    "reinforce_*": advantages,
    "rloo_kl*": advantages,
    "group_norm_*": advantages,
    "dr_grpo_*": advantages,
    "gae_*": advantages,
    "loss_*": loss,
}


@each_case(FILE, CHECKS)
def test_openrlhf(check, case):
    check(case)

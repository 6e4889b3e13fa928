from vector_cases import close, differs, each_case, far, load, tensor

from agents.losses import Bounds, Objective, Totals, kl_penalty, policy_loss, reduce, value_loss

FILE = "verl_losses.json"
INPUTS, _ = load(FILE)
MASK = tensor(INPUTS["response_mask"])
TOTALS = Totals.of(MASK)


def underscored(mode):
    return mode.replace("-", "_")


def aggregation(case):
    args = case["args"]
    totals = TOTALS
    if "batch_num_tokens" in args:
        totals = Totals(
            args["batch_num_tokens"], args["global_batch_size"], args["loss_scale_factor"]
        )
    loss = tensor(INPUTS["log_prob"]) * tensor(INPUTS["advantages_seq"])
    total = reduce(loss, MASK, underscored(args["loss_agg_mode"]), totals)
    close(total * args.get("dp_size", 1), case["out"])


def run(case, objective, totals=TOTALS):
    """Loss, gradient and metrics of one case under an objective."""
    args = case["args"]
    log_probs = tensor(INPUTS["log_prob"], grad=True)
    weights = args["rollout_is_weights"]
    loss, metrics = policy_loss(
        log_probs,
        tensor(INPUTS["old_log_prob"]),
        tensor(INPUTS[args["advantages"]]),
        MASK,
        objective=objective,
        totals=totals,
        weights_BT=tensor(INPUTS[weights]) if weights else None,
    )
    loss.backward()
    return loss, log_probs.grad, metrics


def policy(ratio="token", surrogate="ppo", dual=False, totals=TOTALS, reduction=None):
    """A check: loss, gradient and metrics of the reference's configuration."""

    def check(case):
        config = case["args"]["config"]
        bounds = Bounds(
            config["clip_ratio_low"],
            config["clip_ratio_high"],
            dual_clip=config["clip_ratio_c"] if dual else None,
            tau_positive=config["tau_pos"],
            tau_negative=config["tau_neg"],
        )
        mode = reduction or underscored(case["args"]["loss_agg_mode"])
        loss, grad, metrics = run(case, Objective(ratio, surrogate, mode, bounds), totals)
        close(loss, case["out"]["loss"])
        close(grad, case["out"]["grad_log_prob"])
        if "actor/ppo_kl" in case["out"]["metrics"]:
            close(metrics["kl_old"], case["out"]["metrics"]["actor/ppo_kl"])
        return metrics

    return check


def with_clip_fraction(check):
    def both(case):
        metrics = check(case)
        close(metrics["clip_fraction"], case["out"]["metrics"]["actor/pg_clipfrac"])

    return both


def kl(case):
    log_probs = tensor(INPUTS["log_prob"], grad=True)
    estimator = case["args"]["kl_penalty"].replace("low_var_kl", "k3")
    penalty = kl_penalty(log_probs, tensor(INPUTS["ref_log_prob"]), estimator)
    penalty.sum().backward()
    close(penalty, case["out"]["kl"])
    close(log_probs.grad, case["out"]["grad_of_sum"])


def value(case):
    loss, metrics = value_loss(
        tensor(INPUTS["vpreds"]),
        tensor(INPUTS["old_values"]),
        tensor(INPUTS["returns"]),
        MASK,
        clip=case["args"]["cliprange_value"],
        totals=TOTALS,
    )
    close(loss, case["out"]["vf_loss"])
    close(metrics["value_clip_fraction"], case["out"]["clipfrac"])


@differs("picks the tokens of largest covariance per micro-batch, so its loss depends on the cut")
def kl_cov(case):
    without_bound, _, _ = run(case, Objective(bounds=Bounds(1.0, 1e9)))
    far(without_bound, case["out"]["loss"])


all_rows = Totals(tokens=TOTALS.tokens, sequences=len(MASK))
CHECKS = {
    "agg_*": aggregation,
    "vanilla_*": with_clip_fraction(policy(dual=True)),
    "gspo_*": with_clip_fraction(policy("sequence_token")),
    "cispo_*": with_clip_fraction(policy(surrogate="cispo")),
    "gpg": policy(surrogate="reinforce"),
    "sapo": policy(surrogate="sapo", reduction="seq_mean_token_mean"),
    "geo_mean": policy(surrogate="gmpo", reduction="seq_mean_token_mean", totals=all_rows),
    "dppo_tv": with_clip_fraction(policy(surrogate="dppo_tv", dual=True)),
    "dppo_kl": with_clip_fraction(policy(surrogate="dppo_kl", dual=True)),
    "dro_beta0.1": policy(surrogate="dro"),
    "kl_cov_*": kl_cov,
    "kl_k?": kl,
    "kl_k?+": kl,
    "kl_abs": kl,
    "kl_low_var_kl": kl,
    "value_loss_*": value,
}


@each_case(FILE, CHECKS)
def test_verl_losses(check, case):
    check(case)

import math

from vector_cases import close, each_case, load, tensor

from agents.losses import importance_weights, normalize_weights, rejection_mask

FILE = "verl_rollout_correction.json"
INPUTS, _ = load(FILE)
MASK = tensor(load("verl_losses.json")[0]["response_mask"])
TRAIN = tensor(INPUTS["old_log_prob(train)"])
ROLLOUT = tensor(INPUTS["rollout_log_prob"])


def weights(case):
    args = case["args"]
    level, threshold = args["rollout_is"], args["rollout_is_threshold"]
    if isinstance(threshold, str):
        low, high = map(float, threshold.split("_"))
        bounds = {"low": low, "high": high, "outside": "zero"}
    else:
        bounds = {"high": threshold}
    ours = importance_weights(TRAIN, ROLLOUT, MASK, level=level, **bounds)
    if args["rollout_is_batch_normalize"]:
        ours = normalize_weights(ours, MASK, level)
    close(ours, case["out"]["weights"])
    close(MASK, case["out"]["response_mask"])


def rejection(case):
    """The reference bounds pi_rollout / pi_train under k1, so its bounds turn around."""
    keep = MASK
    args = case["args"]
    names = args["rollout_rs"].split(",")
    for name, threshold in zip(names, str(args["rollout_rs_threshold"]).split(","), strict=True):
        *over, measure = name.removeprefix("seq_").split("_")
        bounds = [float(x) for x in threshold.split("_")]
        if measure == "k1":
            low, high = (-math.log(x) for x in reversed(bounds))
        else:
            low, high = None, bounds[0]
        mask = rejection_mask(
            TRAIN, ROLLOUT, MASK, measure=measure, over=over[0], low=low, high=high
        )
        keep = keep * mask
    close(keep, case["out"]["response_mask"])


CHECKS = {"is_*": weights, "rs_*": rejection}


@each_case(FILE, CHECKS)
def test_verl_rollout_correction(check, case):
    check(case)

import numpy as np
from vector_cases import array, close, differs, each_case, far, load, rows_by

from agents.credit import Gigpo, signals
from agents.credit.gigpo import anchors
from agents.credit.ragged import returns

FILE = "gigpo.json"
INPUTS, _ = load(FILE)
MASK = array(INPUTS["response_mask"])
REWARDS = array(INPUTS["step_reward"])
GROUPS = rows_by(INPUTS["uid"])


def group_of(rows):
    """The attempts of one task; a step's environment reward is its process reward."""
    attempts = list(rows_by([INPUTS["traj_uid"][row] for row in rows]).values())
    attempts = [[rows[i] for i in attempt] for attempt in attempts]
    states = tuple(tuple(INPUTS["anchor_obs"][row] for row in attempt) for attempt in attempts)
    return signals(
        [0.0] * len(attempts), [REWARDS[attempt] for attempt in attempts], states_GS=states
    )


def per_step(compute):
    """One number per row of the batch; rows of a group are in the order of its attempts."""
    result = np.full(len(REWARDS), np.nan)
    for rows in GROUPS.values():
        result[rows] = compute(group_of(rows))
    return result


def estimator(args, **more):
    normalised = args.get("mode", "mean_norm" if args.get("remove_std") else "mean_std_norm")
    return Gigpo(
        gamma=args.get("gamma", 1.0),
        omega=args.get("step_advantage_w", 1.0),
        process_weight=1.0,
        count_steps=args.get("compute_mean_std_cross_steps", True),
        scale="unbiased" if normalised == "mean_std_norm" else "none",
        singleton="raw",
        **more,
    )


def step_returns(case):
    close(all_returns(case["args"]["gamma"]), case["out"])


def all_returns(gamma):
    return per_step(
        lambda group: returns(np.concatenate(group.process_GS), group, gamma)
    )


@differs("the reference takes row order for time; steps of an attempt are in order here")
def shuffled(case):
    ours = all_returns(case["args"]["gamma"])
    far(ours[case["args"]["perm"]], case["out"])


def exact_groups(case):
    found, first = [], 0
    for rows in GROUPS.values():
        numbers = anchors([INPUTS["anchor_obs"][row] for row in rows])
        found.extend(numbers + first)
        first += numbers.max() + 1
    assert found == case["out"]


def similar_groups(case):
    args = case["args"]
    assert anchors(args["obs"], args["similarity_thresh"]).tolist() == case["out"]


@differs("states are text keys made by the environment, which are hashable already")
def hashable(case):
    assert len(case["args"]["inputs"]) == len(case["out"])
    assert anchors(["1", "1", "2.5"]).tolist() == [0, 0, 1]


def episode(case):
    ours = per_step(estimator(case["args"]).episode_term)
    close(ours[:, None] * MASK, case["out"])


def step(case):
    ours = per_step(estimator(case["args"]).step_term)
    close(ours[:, None] * MASK, case["out"])


def whole(case):
    credit = estimator(case["args"])
    ours = per_step(lambda group: np.concatenate(credit(group)[0].advantages_GS))
    close(ours[:, None] * MASK, case["out"])


CHECKS = {
    "step_returns_g*": step_returns,
    "step_returns_shuffled_rows_g0.5": shuffled,
    "step_groups_exact": exact_groups,
    "step_groups_similarity_*": similar_groups,
    "to_hashable": hashable,
    "episode_adv_*": episode,
    "step_adv_*": step,
    "gigpo_*": whole,
}


@each_case(FILE, CHECKS)
def test_gigpo(check, case):
    check(case)

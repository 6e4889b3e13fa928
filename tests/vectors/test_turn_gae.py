import numpy as np
from vector_cases import array, close, differs, each_case, far, load, rows_by

from agents.credit import Gae, Gigpo, signals
from agents.credit.tokens import bi_level_gae, whiten

FILE = "turn_gae.json"
INPUTS, _ = load(FILE)
ROWS = INPUTS["bi_level"]
MASK = array(ROWS["loss_mask"])
VAGEN = INPUTS["vagen"]


def turn_ends(row):
    """The last sampled token of each run of the mask, where the recorded rewards stand."""
    runs = np.flatnonzero(np.diff(np.append(MASK[row], 0)) < 0)
    return runs.tolist()


def bi_level(rewards, args, ends=turn_ends):
    return np.array(
        [
            bi_level_gae(
                rewards[row],
                array(ROWS["values"])[row],
                ends(row),
                MASK[row],
                gamma=args["gamma"],
                lam=args["lam"],
                turn_gamma=args["high_level_gamma"],
            )
            for row in range(len(rewards))
        ]
    )


def ragen(case):
    raw = bi_level(array(ROWS["token_level_rewards"]), case["args"])
    values = array(ROWS["values"])
    expected = array(case["out"]["raw_advantages_on_mask"])
    close(raw, np.where(MASK > 0, expected, 0.0))
    close((raw + values) * MASK, array(case["out"]["returns"]) * MASK)
    whitened = array(case["out"]["advantages_whitened"])
    close(whiten(raw, MASK), np.where(MASK > 0, whitened, 0.0))


@differs("turn ends are given, so a turn of reward 0 is a turn; the reference merges two turns")
def ragen_middle_zero(case):
    rewards = array(ROWS["token_level_rewards"])
    rewards[0, 6] = 0.0
    ours = bi_level(rewards, case["args"]) + array(ROWS["values"])
    far(ours * MASK, array(case["out"]["returns"]) * MASK)

    def merged(row):
        return [end for end in turn_ends(row) if rewards[row, end] != 0]

    theirs = bi_level(rewards, case["args"], merged) + array(ROWS["values"])
    close(theirs[0] * MASK[0], array(case["out"]["returns"])[0] * MASK[0])


@differs("turn ends are given, so a last turn of reward 0 is no error; the reference raises")
def ragen_last_zero(case):
    assert case["out"].startswith("IndexError")
    rewards = array(ROWS["token_level_rewards"])
    rewards[:, -1] = 0.0
    args = {"gamma": 1.0, "lam": 1.0, "high_level_gamma": 0.95}
    assert np.isfinite(bi_level(rewards, args)).all()


def vagen(case):
    """Turn-level GAE: value at the first or last token of the turn, reward summed over it."""
    mask, values = array(VAGEN["response_mask"]), array(VAGEN["values"])
    rewards = (array(VAGEN["token_level_scores"]) * mask).sum(1)
    last = "_last_" in case["name"]
    anchor = np.maximum(mask.sum(1).astype(int) - 1, 0) if last else np.zeros(len(mask), int)
    turn_value = values[np.arange(len(mask)), anchor] * (mask.sum(1) > 0)
    credit = Gae(**case["args"], process_weight=1.0, whiten=False)
    raw = np.zeros(len(mask))
    keys = list(zip(VAGEN["group_idx"], VAGEN["traj_idx"], strict=True))
    for rows in rows_by(keys).values():
        turns = {VAGEN["turn_idx"][row]: row for row in rows}
        unique = [turns[turn] for turn in sorted(turns)]
        group = signals([0.0], [rewards[unique]], learned_GS={"values": (turn_value[unique],)})
        advantages = credit.raw(group)
        for row in rows:
            raw[row] = advantages[sorted(turns).index(VAGEN["turn_idx"][row])]
    targets = array(case["out"]["returns"])
    for row, column in zip(*np.nonzero(targets != -100.0), strict=True):
        close(raw[row] + values[row, column], targets[row, column])
    unique_mask = mask * np.array([[1], [1], [1], [1], [1], [0], [1]])
    whitened = whiten(raw[:, None] * mask, unique_mask)
    expected = np.where(unique_mask > 0, array(case["out"]["advantages"]), 0.0)
    close(whitened, expected)


def step_rows(case):
    """Statistics over step rows, or over each episode once."""
    scores = array(case["args"]["token_level_rewards"]).sum(1)
    episodes = rows_by(["e1", "e1", "e1", "e2", "e3", "e3"]).values()
    group = signals(
        [scores[rows[0]] for rows in episodes],
        [[0.0] * len(rows) for rows in episodes],
        states_GS=tuple(tuple(f"{row}" for row in rows) for rows in episodes),
    )
    credit = Gigpo(count_steps=case["args"]["episode_ids"] is None, omega=0.0)
    close(credit.episode_term(group)[:, None] * np.ones((1, 3)), case["out"])


CHECKS = {
    "ragen_bi_level_g*": ragen,
    "ragen_bi_level_zero_last_reward": ragen_last_zero,
    "ragen_bi_level_zero_middle_reward": ragen_middle_zero,
    "vagen_turn_gae_*": vagen,
    "ragen_grpo_*": step_rows,
}


@each_case(FILE, CHECKS)
def test_turn_gae(check, case):
    check(case)

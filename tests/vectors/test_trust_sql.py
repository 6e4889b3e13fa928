"""Recorded cases of TRUST-SQL: a step is a token here, so that its token rewards are steps."""

import numpy as np
import pytest
import torch
from vector_cases import array, close, differs, each_case, far, load, tensor

from agents.credit import DualTrack, signals
from agents.losses import Bounds, Objective, Totals, policy_loss
from text2sql_gym.errors import ToolError
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.rewards.schema_linking import SchemaItems, overlap, schema_score

FILE = "trust_sql_dual_track.json"
INPUTS, _ = load(FILE)
REWARDS = [array(row) for row in INPUTS["rewards_token_level"]]
ENDS = INPUTS["schema_end_positions"]
SIZE = INPUTS["n_samples_per_prompt"]
ABORTED = [row[-1] == -1.0 for row in REWARDS]


def compare(case):
    """Attempts that could not be scored are left out of the group and get nothing."""
    args = case["args"]
    rewards, valid = array(args["group_rewards"]), array(args["valid_mask"]) > 0
    ours = np.zeros_like(rewards)
    ours[valid] = DualTrack(coupled=False).advantages(rewards[valid])
    close(ours, case["out"])


def tracks(estimator, rows=range(len(REWARDS))):
    """The tracks of a batch: for each one the advantages of every row, 0 for aborted rows."""
    rows = list(rows)
    found = {}
    for start in range(0, len(rows), SIZE):
        group_rows = [row for row in rows[start : start + SIZE] if not ABORTED[row]]
        credit = estimator(group_of(group_rows))
        for place, track in enumerate(credit):
            found.setdefault(place, {}).update(
                zip(group_rows, track.advantages_GS, strict=True)
            )
    return [
        [part.get(row, np.zeros(REWARDS[row].size)) for row in rows] for part in found.values()
    ]


def group_of(rows):
    schema = []
    for row in rows:
        reward = np.zeros_like(REWARDS[row])
        if 0 < ENDS[row] <= reward.size:
            reward[ENDS[row] - 1] = REWARDS[row][ENDS[row] - 1]
        schema.append(reward)
    phase = [(np.arange(REWARDS[row].size) < ENDS[row]).astype(float) for row in rows]
    return signals(
        [REWARDS[row][-1] for row in rows],
        [np.zeros(REWARDS[row].size) for row in rows],
        learned_GS={"schema_reward": tuple(schema), "schema_phase": tuple(phase)},
    )


def separate(case):
    schema, answer = tracks(DualTrack(coupled=False))
    for row in range(len(REWARDS)):
        close(schema[row], case["out"]["schema_returns"][row])
        close(answer[row], case["out"]["answer_returns"][row])


@differs("the reference drops a group that is not full; a group here may have any size")
def truncated(case):
    schema, answer = tracks(DualTrack(coupled=False), range(7))
    assert len(schema) == 7 > len(case["out"]["schema_returns"])
    for row, expected in enumerate(case["out"]["answer_returns"]):
        close(answer[row], expected)
        close(schema[row], case["out"]["schema_returns"][row])


def one_track(mode, name):
    def check(case):
        (credit,) = tracks(DualTrack(mode=mode, coupled=False, schema_weight=case["args"][name]))
        for row in range(len(REWARDS)):
            close(credit[row], case["out"][row])

    return check


def padded(rows):
    width = max(len(row) for row in rows)
    return tensor([list(row) + [0.0] * (width - len(row)) for row in rows])


def dual_track_loss(case):
    """Each track is a policy loss of its own: own mask, own row means, own sequence ratio."""
    args = case["args"]
    estimator = DualTrack(coupled=False, schema_weight=args["lambda"])
    schema, answer = tracks(estimator)
    log_probs = padded(args["log_probs"]).requires_grad_()
    old, loss_mask = padded(args["old_log_probs"]), padded(args["loss_masks"])
    phase = padded([np.arange(len(row)) < end for row, end in zip(REWARDS, ENDS, strict=True)])
    ratio = "sequence" if case["name"].endswith("gspo") else "token"
    bounds = Bounds(args["eps_clip"], args["eps_clip_high"])
    objective = Objective(ratio, "ppo", "seq_mean_token_mean", bounds)
    parts = [
        policy_loss(
            log_probs,
            old,
            padded(credit),
            mask,
            objective=objective,
            totals=Totals(tokens=1.0, sequences=1.0),  # the reference sums over rows
        )[0]
        for credit, mask in [(schema, loss_mask * phase), (answer, loss_mask)]
    ]
    total = estimator.schema_weight * parts[0] + parts[1]
    total.backward()
    close(parts[0], case["out"]["schema_loss"])
    close(parts[1], case["out"]["answer_loss"])
    close(total, case["out"]["loss_sum_over_samples"])
    for row, expected in enumerate(case["out"]["grad"]):
        close(log_probs.grad[row][: len(expected)], expected)
    assert torch.isfinite(total)


def items(proposal):
    """Tables and columns of a proposal; a column is a name or a record that holds one."""
    columns = {
        table: [c if isinstance(c, str) else c.get("name", c.get("column_name")) for c in names]
        for table, names in proposal.get("columns", {}).items()
    }
    return SchemaItems.of(proposal.get("tables", []), columns)


def schema(case):
    args, out = case["args"], case["out"]
    proposed, gold = items(args["pred"]), items(args["gold"])
    for kind in ("table", "column"):
        found = overlap(*(getattr(x, f"{kind}s") for x in (proposed, gold)))
        close(found.precision, out[f"{kind}_precision"])
        close(found.recall, out[f"{kind}_recall"])
        close(found.f1, out[f"{kind}_f1"])
    mode = args["mode"].replace("totalmatch", "total_match")
    close(schema_score(proposed, gold, mode), out["total_score"])


@differs("the syntax of a turn is a protocol's business; credit never looks at text")
def turn_format(case):
    assert set(case["out"]) == {"is_valid", "format_score", "error_message"}
    with pytest.raises(ToolError):  # and the protocol here is another one
        FineStep().parse(case["args"]["turn"])


CHECKS = {
    "group_*": compare,
    "separate": separate,
    "separate_truncated_batch": truncated,
    "weighted_sum_*": one_track("sum", "schema_advantage_weight"),
    "schema_reward_weighted_*": one_track("reward_weighted", "schema_policy_loss_weight"),
    "dual_track_loss_*": dual_track_loss,
    "schema_score_*": schema,
    "turn_format_*": turn_format,
}


@each_case(FILE, CHECKS)
def test_trust_sql(check, case):
    check(case)


def test_a_half_full_group_is_compared_all_the_same():
    schema, _ = tracks(DualTrack(coupled=False), range(4, 7))
    far(schema[0], np.zeros(6))

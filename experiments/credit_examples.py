"""One worked example per estimator: rewards, the arithmetic in words, and the credit that results.

A test runs every estimator on its example and compares. Epsilon is 0 throughout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agents.credit import GroupSignals, signals

Rows = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Worked:
    """Rewards of a small group, how its credit is computed, and the credit.

    `tracks` is the expected credit per track, attempt and step. `other` is a second group of the
    batch, for estimators that compare over the batch.
    """

    outcomes: Sequence[float]
    process: Rows
    text: str
    tracks: Sequence[Rows]
    options: Mapping[str, Any] = field(default_factory=dict)
    learned: Mapping[str, Rows] = field(default_factory=dict)
    states: Sequence[Sequence[str]] = ()
    trees: Sequence[str] = ()

    @property
    def group(self) -> GroupSignals:
        """The numbers as estimators take them."""
        return signals(
            self.outcomes,
            self.process,
            states_GS=tuple(tuple(row) for row in self.states),
            learned_GS={
                name: tuple(np.array(row, dtype=np.float64) for row in rows)
                for name, rows in self.learned.items()
            },
            trees_G=tuple(self.trees),
        )


_TWO: Rows = [[0, 0], [0]]

WORKED: Mapping[str, Worked] = {
    "finestep": Worked(
        [1, 0],
        [[1, 0], [0, 0]],
        "Outcome, discounted to each step: 0.5, 1 | 0, 0; mean 3/8, deviation 0.479, so Z(o) is "
        "0.261, 1.306 | -0.783, -0.783. Process, smoothed backwards: q2 = 0 and "
        "q1 = 0.5 * 1 + 0.5 * 0 = 0.5, so q is 0.5, 0 | 0, 0; mean 1/8, deviation 1/4, so Z(q) is "
        "1.5, -0.5 | -0.5, -0.5. Half of each:",
        [[[0.881, 0.403], [-0.642, -0.642]]],
        {"gamma": 0.5, "alpha": 0.5},
    ),
    "grpo": Worked(
        [1, 0, 0, 0],
        [[0], [0, 0], [0], [0]],
        "Scores 1, 0, 0, 0: mean 1/4, deviation sqrt((9/16 + 3/16) / 3) = 1/2.",
        [[[1.5], [-0.5, -0.5], [-0.5], [-0.5]]],
    ),
    "dr_grpo": Worked([1, 0], _TWO, "Mean 1/2.", [[[0.5, 0.5], [-0.5]]]),
    "rloo": Worked(
        [1, 0, 0.5],
        [[0], [0], [0]],
        "The others' means are 1/4, 3/4 and 1/2.",
        [[[0.75], [-0.75], [0.0]]],
    ),
    "lite_ppo": Worked(
        [1, 0],
        _TWO,
        "Mean of the group 1/2, distances 1/2 and -1/2. With no other group in the batch the "
        "deviation is sqrt((1/4 + 1/4) / 1) = 0.707.",
        [[[0.707, 0.707], [-0.707]]],
    ),
    "gdpo": Worked(
        [1, 0],
        [[2], [0]],
        "Outcome: deviations 0.707 and -0.707. Process, although it is twice as large: 0.707 and "
        "-0.707 as well. The sums 1.414 and -1.414 have mean 0 and deviation 2 over the batch.",
        [[[0.707], [-0.707]]],
    ),
    "max_rl": Worked(
        [1, 0, 0, 0],
        [[0], [0], [0], [0]],
        "Mean 1/4. Distances 3/4 and -1/4, divided by 1/4: one success of four weighs three times "
        "as much as one of two would.",
        [[[3.0], [-1.0], [-1.0], [-1.0]]],
    ),
    "pass_at_k": Worked(
        [0.5, 1, 0],
        [[0], [0, 0], [0]],
        "Best 1, second 0.5, deviation 1/2: a lead of one deviation, for the best alone.",
        [[[0.0], [1.0, 1.0], [0.0]]],
    ),
    "opo": Worked(
        [1, 0],
        _TWO,
        "30 and 10 tokens: the baseline is (30 * 1 + 10 * 0) / 40 = 3/4.",
        [[[0.25, 0.25], [-0.75]]],
        learned={"tokens": [[20, 10], [10]]},
    ),
    "gpg": Worked(
        [1, 0],
        _TWO,
        "Mean 1/2. One of the two attempts of the batch has a score, so distances count twice.",
        [[[1.0, 1.0], [-1.0]]],
    ),
    "remax": Worked(
        [1],
        [[0.5, 0.25]],
        "The attempt scores 1, the greedy one scored 1/2.",
        [[[0.5, 0.5]]],
        learned={"greedy": [[0.5, 0.5]]},
    ),
    "reinforce_pp": Worked(
        [1, 0],
        _TWO,
        "Returns 1/2, 1 | 0 over the batch: mean 1/2, deviation 1/2.",
        [[[0.0, 1.0], [-1.0]]],
        {"gamma": 0.5},
    ),
    "reinforce_pp_baseline": Worked(
        [1, 0],
        _TWO,
        "Distances from the group's mean 1/2, 1/2 | -1/2: mean over the batch's steps 1/6, "
        "deviation sqrt((1/9 + 1/9 + 4/9) / 2) = 0.577.",
        [[[0.577, 0.577], [-1.155]]],
    ),
    "gae": Worked(
        [1],
        [[0, 0]],
        "Rewards 0, 1. delta_2 = 1 - 1/4 = 3/4; delta_1 = 0 + 0.5 * 1/4 - 1/2 = -3/8; "
        "A_1 = -3/8 + 0.5 * 0.5 * 3/4 = -0.1875.",
        [[[-0.1875, 0.75]]],
        {"gamma": 0.5, "lam": 0.5, "whiten": False},
        {"values": [[0.5, 0.25]]},
    ),
    "process_grpo": Worked(
        [1, 0],
        [[0, 1], [0, 0]],
        "Process 0, 1 | 0, 0: mean 1/4, deviation 1/2, so z is -0.5, 1.5 | -0.5, -0.5. Summed to "
        "the end: 1, 1.5 | -1, -0.5. The outcome adds 0.707 and -0.707.",
        [[[1.707, 2.207], [-1.707, -1.207]]],
    ),
    "mt_grpo": Worked(
        [1, 0],
        [[1, 9], [0, 9]],
        "Outcome 0.707 and -0.707. First turns 1 and 0: 0.707 and -0.707, at half weight. Last "
        "turns have the outcome only.",
        [[[1.061, 0.707], [-1.061, -0.707]]],
        {"coefficient": 0.5},
    ),
    "gigpo": Worked(
        [1, 0],
        [[0, 0], [0, 0]],
        "Episode term 1/2 and -1/2. Returns 1/2, 1 | 0, 0. In state s they are 1/2 and 0, so 1/4 "
        "and -1/4; in state t 1 and 0, so 1/2 and -1/2.",
        [[[0.75, 1.0], [-0.75, -1.0]]],
        {"gamma": 0.5, "scale": "none"},
        states=[["s", "t"], ["s", "t"]],
    ),
    "igpo": Worked(
        [1, 0],
        [[0, 0], [0, 0]],
        "Rewards 1, 1 | 0, 0 (the gain of the last step is not used): mean 1/2, deviation 0.577, "
        "so z is 0.866, 0.866 | -0.866, -0.866; half of the later one is added to the earlier one.",
        [[[1.299, 0.866], [-1.299, -0.866]]],
        {"gamma": 0.5},
        {"information_gain": [[1, 9], [0, -9]]},
    ),
    "tree_grpo": Worked(
        [1, 0, 0, 0],
        [[0]] * 4,
        "In the group: mean 1/4, deviation 1/2, so 1.5, -0.5, -0.5, -0.5. In tree x: 0.707 and "
        "-0.707; in tree y nothing differs.",
        [[[2.207], [-1.207], [-0.5], [-0.5]]],
        trees=["x", "x", "y", "y"],
    ),
    "dual_track": Worked(
        [1, 0],
        [[0, 0, 0], [0, 0]],
        "Both proposed the right schema, but only the first answered right: schema scores 1 and 0, "
        "mean 1/2, deviation (with n) 1/2, on the steps up to the proposal, with weight 0.25. The "
        "answers likewise, on all steps, with weight 1.",
        [[[1.0, 1.0, 0.0], [-1.0, 0.0]], [[1.0, 1.0, 1.0], [-1.0, -1.0]]],
        learned={
            "schema_reward": [[0, 1, 0], [1, 0]],
            "schema_phase": [[1, 1, 0], [1, 0]],
        },
    ),
    "reward_sql": Worked(
        [1, 0],
        [[0, 0], [0, 0]],
        "b = 1 + 1/2 and 0 + 1/2, so a is 0.707 and -0.707. Above: a times the score; below: a "
        "times one minus the score.",
        [[[0.530, 0.177], [-0.177, -0.530]]],
        learned={"step_score": [[0.75, 0.25], [0.75, 0.25]]},
    ),
    "spa": Worked(
        [1, 0],
        [[0, 0], [0, 0]],
        "Rewards 0.5 + 1, 0.5 + 0 | 0 + 0, 0 + 1; returns 2, 0.5 | 1, 1. First steps: mean 1.5; "
        "second steps: mean 0.75.",
        [[[0.5, -0.25], [-0.5, 0.25]]],
        {"beta": 1.0},
        {"progress": [[0.5, 0.5], [0, 0]], "grounding": [[1, 0], [0, 1]]},
    ),
    "pav": Worked(
        [1, 0],
        _TWO,
        "Outcome 1/2 and -1/2. The prover's chance rises by 1/4 and 1/2, and falls by 1/4; each "
        "counts twice.",
        [[[1.0, 1.5], [-1.0]]],
        {"alpha": 2.0},
        {"prover_before": [[0.25, 0.5], [0.25]], "prover_after": [[0.5, 1.0], [0.0]]},
    ),
}

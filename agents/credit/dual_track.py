"""TRUST-SQL's Dual-Track GRPO: the proposed schema and the answer are trained side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from agents.credit.base import Credit, FloatArray, GroupSignals, Track
from agents.credit.ragged import attempt_sums, concatenate, slices, split, spread
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Scale, standardize

Mode = Literal["tracks", "sum", "reward_weighted"]


@dataclass(frozen=True)
class DualTrack:
    """Two tracks with their own comparison, mask and weight.

        schema_i = sum_t schema_reward_it        0 with `coupled` unless outcome_i >= 1
        track 1: A_it = clamp(Z(schema_i)),   on the steps of the schema phase, weight schema_weight
        track 2: A_it = clamp(Z(outcome_i)),  on all steps, weight 1

    "schema_reward" is the score of the last proposed schema on the step that proposed it, else 0;
    "schema_phase" is 1 on the steps up to and with that proposal, 0 after it (all 0 without one).

    `coupled` pays the schema only to attempts with a right answer, as in the paper's runs (the mode
    "truematch" of its code); how a proposal itself is scored is the business of the reward.

    mode "sum": one track, A_outcome + schema_weight * A_schema on the schema phase.
    mode "reward_weighted": one track, A_outcome (1 + schema_weight * schema_i) on the schema
    phase. Both are alternatives in the authors' code that their paper does not use.

    Units: population standard deviations, limited to +-`clamp`. The gradients of both tracks add
    on the schema phase. 0.25 is the paper's weight; it reports a collapse at 0.375.

    Degenerate groups: equal outcomes, or equal schema scores, have a term of exactly zero, and
    so has a single attempt. A group without a right answer has no schema term when `coupled`, as
    the paper intends.

    Our choice: an attempt without a proposal has no schema phase; in the authors' code its phase
    are the steps up to the last exploration. The other defaults are theirs.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "schema_reward", "schema_phase")
    granularity: ClassVar[str] = "attempt, two tracks"
    source: ClassVar[str] = "TRUST-SQL, arXiv:2603.16448"

    mode: Mode = "tracks"
    schema_weight: float = 0.25
    coupled: bool = True
    clamp: float = 10.0
    scale: Scale = "biased"
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_choice(self, "mode", Mode)
        check_choice(self, "scale", Scale)
        check_range(self, 0.0, np.inf, "schema_weight", "clamp", "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return two tracks, or one; see the class for the equations."""
        schema_G = attempt_sums(group.learned("schema_reward"), group)
        if self.coupled:
            schema_G = schema_G * (group.outcome_G >= 1.0)
        phase_N = concatenate(group.learned("schema_phase")) > 0
        answer_N = spread(self.advantages(group.outcome_G), group)
        if self.mode == "reward_weighted":
            extra_N = self.schema_weight * spread(schema_G, group) * answer_N
            return (Track(split(answer_N + phase_N * extra_N, group)),)
        schema_N = spread(self.advantages(schema_G), group) * phase_N
        if self.mode == "sum":
            return (Track(split(answer_N + self.schema_weight * schema_N, group)),)
        phase_GS = tuple([phase_N[attempt] for attempt in slices(group)])
        schema = Track(split(schema_N, group), phase_GS, self.schema_weight)
        return (schema, Track(split(answer_N, group)))

    def advantages(self, scores_G: FloatArray) -> FloatArray:
        """Return the clamped standard scores of one track."""
        credit_G = standardize(scores_G, self.scale, self.epsilon)
        return np.minimum(np.maximum(credit_G, -self.clamp), self.clamp)

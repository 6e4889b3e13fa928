"""TRUST-SQL's Dual-Track GRPO: the proposed schema and the answer are trained side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from agents.credit.base import Credit, FloatArray, GroupSignals, Ragged, Track
from agents.credit.ragged import constant
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Scale, standardize

Mode = Literal["tracks", "sum", "reward_weighted"]
Masks = tuple[npt.NDArray[np.bool_], ...]


@dataclass(frozen=True)
class DualTrack:
    """Two tracks with their own comparison, mask and weight.

        schema_i = sum_t schema_reward_it
        track 1: A_it = clamp(Z(schema_i)),   on the steps of the schema phase, weight schema_weight
        track 2: A_it = clamp(Z(outcome_i)),  on all steps, weight 1

    "schema_reward" is the score of the last proposed schema on the step that proposed it, else 0;
    "schema_phase" is 1 on the steps up to and with that proposal, 0 after it (all 0 without one).

    mode "sum": one track, A_outcome + schema_weight * A_schema on the schema phase.
    mode "reward_weighted": one track, A_outcome (1 + schema_weight * schema_i) on the schema
    phase. Both are alternatives in the authors' code that their paper does not use.

    Units: population standard deviations, limited to +-`clamp`. The gradients of both tracks add
    on the schema phase. 0.25 is the paper's weight; it reports a collapse at 0.375.

    Degenerate groups: equal outcomes, or equal schema scores, have a term of exactly zero, and
    so has a single attempt. With a schema reward that is paid only for a right answer, a group
    without a right answer has no schema term, as intended.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "schema_reward", "schema_phase")
    granularity: ClassVar[str] = "attempt, two tracks"
    source: ClassVar[str] = "TRUST-SQL, arXiv:2603.16448"

    mode: Mode = "tracks"
    schema_weight: float = 0.25
    clamp: float = 10.0
    scale: Scale = "biased"
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_choice(self, "mode", Mode)
        check_choice(self, "scale", Scale)
        check_range(self, 0.0, np.inf, "schema_weight", "clamp", "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return two tracks, or one; see the class for the equations."""
        schema_G = np.array([reward_S.sum() for reward_S in group.learned("schema_reward")])
        phase_GS = tuple(phase_S > 0 for phase_S in group.learned("schema_phase"))
        answer_GS = constant(self.advantages(group.outcome_G), group)
        if self.mode == "reward_weighted":
            factor_G = 1.0 + self.schema_weight * schema_G
            rows = zip(answer_GS, factor_G, phase_GS, strict=True)
            return (Track(tuple(np.where(p_S, f * a_S, a_S) for a_S, f, p_S in rows)),)
        schema_GS = constant(self.advantages(schema_G), group)
        if self.mode == "sum":
            return (Track(self._sum(answer_GS, schema_GS, phase_GS)),)
        pairs = zip(schema_GS, phase_GS, strict=True)
        schema_GS = tuple(np.where(p_S, s_S, 0.0) for s_S, p_S in pairs)
        return (Track(schema_GS, phase_GS, self.schema_weight), Track(answer_GS))

    def advantages(self, scores_G: FloatArray) -> FloatArray:
        """Return the clamped standard scores of one track."""
        credit_G = standardize(scores_G, self.scale, self.epsilon)
        return np.clip(credit_G, -self.clamp, self.clamp)

    def _sum(self, answer_GS: Ragged, schema_GS: Ragged, phase_GS: Masks) -> Ragged:
        rows = zip(answer_GS, schema_GS, phase_GS, strict=True)
        return tuple(a_S + self.schema_weight * s_S * p_S for a_S, s_S, p_S in rows)

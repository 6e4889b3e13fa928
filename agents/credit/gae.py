"""PPO's generalised advantage estimation with the step (turn) as the unit of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, FloatArray, GroupSignals, Ragged, Track
from agents.credit.ragged import concatenate, step_rewards
from agents.credit.reinforce_pp import whiten_batch
from agents.credit.settings import check_range


@dataclass(frozen=True)
class Gae:
    """Each step is credited with the critic's surprise, summed with decaying weight.

        r_t     = process_weight * process_t, plus the outcome on the last step
        delta_t = r_t + gamma V_t+1 - V_t,     V_T+1 = 0
        A_t     = delta_t + gamma lam A_t+1

    "values" holds V_t, the critic's estimate in the state in which step t was chosen. With one
    step per token this is token-level GAE in which observations take no time; with one step per
    turn it is turn-level GAE.

    Units: units of the reward; with `whiten`, standard deviations over the steps of the batch.

    Degenerate cases: nothing is compared within a group, so equal rewards are not zero; a critic
    that is right gives zero. An attempt is taken to have ended at its last step, also when a
    limit cut it off.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "values")
    granularity: ClassVar[str] = "step"
    source: ClassVar[str] = "Schulman et al. 2016, arXiv:1506.02438"

    gamma: float = 1.0
    lam: float = 1.0
    process_weight: float = 0.0
    whiten: bool = True

    def __post_init__(self) -> None:
        check_range(self, 0.0, 1.0, "gamma", "lam")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return the credit of one group as if it were the whole batch."""
        return self.batch([group])[0]

    def batch(self, groups: Sequence[GroupSignals]) -> list[Credit]:
        """Return one track per group; see the class for the equations."""
        raw = [self.raw(group) for group in groups]
        if not self.whiten:
            return [(Track(raw_GS),) for raw_GS in raw]
        return whiten_batch([concatenate(raw_GS) for raw_GS in raw], groups, "unbiased", 1e-8)

    def raw(self, group: GroupSignals) -> Ragged:
        """Return the advantages before whitening; plus the values they are the critic's targets."""
        rewards_GS, values_GS = step_rewards(group, self.process_weight), group.learned("values")
        rows = zip(rewards_GS, values_GS, strict=True)
        return tuple(advantages(r_S, v_S, self.gamma, self.lam) for r_S, v_S in rows)


def advantages(
    rewards_S: FloatArray, values_S: FloatArray, gamma: float, lam: float
) -> FloatArray:
    """Return A_t = delta_t + gamma lam A_t+1 for one attempt."""
    next_S = np.append(values_S[1:], 0.0)
    credit = (rewards_S + gamma * next_S - values_S).tolist()
    for t in range(len(credit) - 2, -1, -1):
        credit[t] += gamma * lam * credit[t + 1]
    return np.array(credit)

"""PPO's generalised advantage estimation with the step (turn) as the unit of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, FloatArray, GroupSignals, Track
from agents.credit.ragged import concatenate, last_steps, returns, split, step_rewards
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
    that is right gives zero.

    Our choice: an attempt is taken to have ended at its last step, also when a limit cut it off, as
    in verl; `agents.credit.tokens.token_gae` takes the critic's value of what was cut, as AReaL
    does, and has the form in which observations take time.
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
            return [(Track(split(raw_N, g)),) for raw_N, g in zip(raw, groups, strict=True)]
        return whiten_batch(raw, groups, "unbiased", 1e-8)

    def raw(self, group: GroupSignals) -> FloatArray:
        """Return the advantages before whitening, flat; plus the values: the critic's targets."""
        rewards_N = step_rewards(group, self.process_weight)
        return advantages(rewards_N, group, self.gamma, self.lam)


def advantages(
    rewards_N: FloatArray, group: GroupSignals, gamma: float, lam: float
) -> FloatArray:
    """Return A_t = delta_t + gamma lam A_t+1 of rewards against the critic's values, flat."""
    values_N = concatenate(group.learned("values"))
    next_N = np.roll(values_N, -1)
    next_N[last_steps(group)] = 0.0
    return returns(rewards_N + gamma * next_N - values_N, group, gamma * lam)

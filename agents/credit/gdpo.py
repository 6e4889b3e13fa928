"""GDPO: each reward is standardised on its own before the rewards are added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, FloatArray, GroupSignals, Track
from agents.credit.ragged import attempt_sums, constant
from agents.credit.settings import check_range
from agents.credit.statistics import IntArray, scale_within, standardize_within


@dataclass(frozen=True)
class Gdpo:
    """Every step of an attempt gets the attempt's outcome and process, each standardised.

        s_i  = Z_group(outcome_i) + process_weight * Z_group(sum_t process_it)
        A_it = Z_batch(s_i)

    Adding rewards before standardising lets the one with the wider range hide the others; here
    each has the same spread and the weights are what they say.

    Units: standard deviations over the batch.

    Degenerate groups: a reward that is equal over a group contributes exactly zero.

    Our choice: the batch is standardised over attempts with epsilon 1e-4, as in TRL; verl does it
    over tokens, so that long attempts weigh more.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "process")
    granularity: ClassVar[str] = "attempt"
    source: ClassVar[str] = "Liu et al. 2026, arXiv:2601.05242"

    process_weight: float = 1.0
    epsilon: float = 1e-4

    def __post_init__(self) -> None:
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return the credit of one group as if it were the whole batch."""
        return self.batch([group])[0]

    def batch(self, groups: Sequence[GroupSignals]) -> list[Credit]:
        """Return one track per group; see the class for the equations."""
        rewards_KA = np.array(
            [
                np.concatenate([group.outcome_G for group in groups]),
                np.concatenate([attempt_sums(group.process_GS, group) for group in groups]),
            ]
        )
        sizes = [group.outcome_G.size for group in groups]
        pool_A = np.repeat(np.arange(len(groups)), sizes)
        weights_K = np.array([1.0, self.process_weight])
        credit_A = decoupled(rewards_KA, pool_A, weights_K, self.epsilon)
        rows = np.split(credit_A, np.cumsum(sizes)[:-1])
        return [(Track(constant(a, g)),) for a, g in zip(rows, groups, strict=True)]


def decoupled(
    rewards_KA: FloatArray, pool_A: IntArray, weights_K: FloatArray, epsilon: float
) -> FloatArray:
    """Return one advantage per attempt A from K rewards each; `pool_A` numbers the groups."""
    parts_KA = [standardize_within(row_A, pool_A, "unbiased", epsilon) for row_A in rewards_KA]
    # the parts have mean zero already; centring again would move exact zeros by an error
    whole_A = np.zeros_like(pool_A)
    return scale_within(weights_K @ np.array(parts_KA), whole_A, "unbiased", epsilon)

"""PAV: each step gets the outcome, plus the progress it made for a prover policy."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import ClassVar

import numpy as np

from agents.credit.base import Credit, FloatArray, GroupSignals, Track
from agents.credit.ragged import concatenate, split, spread
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Scale, standardize


@dataclass(frozen=True)
class Pav:
    """Credit each step with the outcome and with its advantage under a prover.

        progress_it = prover_after_it - prover_before_it
        A_it        = Z(outcome_i) + alpha * progress_it

    prover_before_it and prover_after_it are the chances that a prover policy reaches a right
    answer from before and from after step t. A prover that always or never succeeds makes no
    progress anywhere; the paper takes the best of K attempts of the policy (`best_of`). Progress
    is credited to its own step and not summed over the attempt: the sum telescopes to the last
    chance less the first.

    Units: `scale` "none": units of the outcome. alpha 3 to 5 in the paper's training (0.2 to 0.5
    in its search).

    Degenerate groups: equal outcomes, and so a single attempt, have an outcome term of exactly
    zero; the progress term stays.

    The paper subtracts a learned value as the baseline of the outcome; the group's mean is our
    choice.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "prover_before", "prover_after")
    granularity: ClassVar[str] = "step"
    source: ClassVar[str] = "Setlur et al. 2024, arXiv:2410.08146"

    alpha: float = 3.0
    scale: Scale = "none"
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_choice(self, "scale", Scale)
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equations."""
        outcome_G = standardize(group.outcome_G, self.scale, self.epsilon)
        credit_N = spread(outcome_G, group) + self.alpha * progress(group)
        return (Track(split(credit_N, group)),)


def progress(group: GroupSignals) -> FloatArray:
    """The prover's advantage of every step, flat."""
    after_N = concatenate(group.learned("prover_after"))
    return np.asarray(after_N - concatenate(group.learned("prover_before")))


def best_of(chance: FloatArray, k: int) -> FloatArray:
    """Chance that at least one of k independent attempts succeeds: 1 - (1 - chance)^k.

    With an estimated chance this is biased towards small values (see `pass_at_k`).
    """
    return np.asarray(1.0 - (1.0 - chance) ** k)


def pass_at_k(successes: int, attempts: int, k: int) -> float:
    """Unbiased estimate of `best_of` from counted attempts: 1 - C(n - c, k) / C(n, k).

    Raises ValueError when k is not in [1, attempts] or successes not in [0, attempts].

    Source: Chen et al. 2021, arXiv:2107.03374.
    """
    if not (1 <= k <= attempts and 0 <= successes <= attempts):
        raise ValueError(f"need 0 <= successes <= attempts >= k >= 1, got {successes, attempts, k}")
    return 1.0 - comb(attempts - successes, k) / comb(attempts, k)


def search_score(chance: FloatArray, prover_progress: FloatArray, alpha: float) -> FloatArray:
    """Score candidate steps in a search: the policy's chance plus alpha times prover progress."""
    return np.asarray(chance + alpha * prover_progress)

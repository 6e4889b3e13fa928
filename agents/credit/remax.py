"""ReMax: the return of each step less the score of the greedy attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.credit.base import Credit, GroupSignals, Track
from agents.credit.ragged import concatenate, returns, split, step_rewards


@dataclass(frozen=True)
class ReMax:
    """Each step is credited with its return less what the greedy policy scored on the task.

        r_it = process_weight * process_it, plus outcome_i on the last step
        A_it = r_it + r_i,t+1 + ... + r_iT - greedy_it

    greedy_it is the score of one greedy attempt at the same task, the same at every step. It
    costs one more rollout per task and needs no group: a single attempt is enough.

    Units: units of the score. There is no degenerate group: an attempt that scores what the
    greedy one does has zero credit at its first step.

    Our choice: process rewards count from their step on, as in verl, and are left out by default;
    then every step has the outcome less that of the greedy attempt.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "greedy")
    granularity: ClassVar[str] = "step"
    source: ClassVar[str] = "Li et al. 2023, arXiv:2310.10505"

    process_weight: float = 0.0

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equation."""
        returns_N = returns(step_rewards(group, self.process_weight), group, 1.0)
        return (Track(split(returns_N - concatenate(group.learned("greedy")), group)),)

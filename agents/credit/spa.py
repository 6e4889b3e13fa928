"""SPA-RL: the outcome is redistributed to steps as learned progress, with a grounding bonus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from agents.credit import gae
from agents.credit.base import Credit, FloatArray, GroupSignals, Track
from agents.credit.ragged import concatenate, returns, split, step_index
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Scale, standardize_within

Baseline = Literal["group", "critic"]


@dataclass(frozen=True)
class Spa:
    """Each step is rewarded for its contribution to the outcome and for being executable.

        r_it = alpha * progress_it + beta * grounding_it
        "group"   A_it = Z_t(R_it),  R_it = r_it + gamma R_i,t+1
        "critic"  A_it = GAE of r with the critic's values

    progress_it is the contribution that a model, trained so that contributions sum to the
    outcome, gives to step t; grounding_it is 1 when the step's call could be executed, else 0.
    The outcome enters through the progress model only. Z_t compares the t-th steps of all
    attempts, since returns shrink with every step that is taken.

    Units: of the reward; with a `scale`, "group" has standard deviations of the returns. A model's
    contributions are never exactly equal, so a deviation makes its noise as large as its signal
    once all attempts succeed: hence the default "none".

    Degenerate groups: "group" gives exactly zero for equal returns at a step, and so for a step
    that only one attempt reaches.

    The paper trains with PPO ("critic"). Comparing returns within the group needs no critic and
    is our choice of default, as are alpha = 1, beta = 0.1: no values are published. With beta
    1 an executable call is worth as much as a right answer, and a policy over menus learned to
    make calls until its turns ran out. The released preparation script instead overwrites
    progress by the outcome less the other attempts' mean, adds 0.5 for grounding, and its trainer
    weighs step t by the number of steps that follow.
    """

    needs: ClassVar[tuple[str, ...]] = ("progress", "grounding")
    granularity: ClassVar[str] = "step"
    source: ClassVar[str] = "SPA-RL, arXiv:2505.20732"

    alpha: float = 1.0
    beta: float = 0.1
    gamma: float = 1.0
    lam: float = 1.0
    baseline: Baseline = "group"
    scale: Scale = "none"
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_choice(self, "baseline", Baseline)
        check_choice(self, "scale", Scale)
        check_range(self, 0.0, 1.0, "gamma", "lam")
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equations."""
        rewards_N = self.rewards(group)
        if self.baseline == "critic":
            credit_N = gae.advantages(rewards_N, group, self.gamma, self.lam)
            return (Track(split(credit_N, group)),)
        returns_N = returns(rewards_N, group, self.gamma)
        credit_N = standardize_within(returns_N, step_index(group), self.scale, self.epsilon)
        return (Track(split(credit_N, group)),)

    def rewards(self, group: GroupSignals) -> FloatArray:
        """Return alpha * progress + beta * grounding for every step, flat."""
        progress_N = concatenate(group.learned("progress"))
        return np.asarray(
            self.alpha * progress_N + self.beta * concatenate(group.learned("grounding"))
        )

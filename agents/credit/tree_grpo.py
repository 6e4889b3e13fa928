"""Tree-GRPO: branches of one tree are compared with each other and with all other trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from agents.credit.base import Credit, FloatArray, GroupSignals, Track
from agents.credit.gigpo import anchors
from agents.credit.ragged import constant, episode_scores
from agents.credit.settings import check_choice, check_range
from agents.credit.statistics import Scale, Singleton, standardize, standardize_within

Compare = Literal["both", "inter", "inner", "nested"]


@dataclass(frozen=True)
class TreeGrpo:
    """Every step of a branch gets the branch's score, standardised in its group and in its tree.

        inter_i = Z_group(S_i),   inner_i = Z_tree(S_i)
        A_it    = inter_i + inner_i      compare "both"
                = Z_tree(inter_i)        compare "nested"
                = inter_i or inner_i     compare "inter", "inner"

    `trees_G` says which tree an attempt is a branch of; without it every attempt is a tree of its
    own and "both" is GRPO. Branches of a tree share their first steps, which are credited once
    per branch.

    Units: standard deviations; "both" adds two of them.

    Degenerate groups: equal scores in a group or tree have a term of exactly zero. A lone branch
    or attempt gives zero, or its raw score with ``singleton="raw"`` (the authors' code).

    Our choice: zero for a lone branch; the raw score of the authors' code doubles the credit of a
    tree that was not expanded.
    """

    needs: ClassVar[tuple[str, ...]] = ("outcome", "trees")
    granularity: ClassVar[str] = "attempt"
    source: ClassVar[str] = "Ji et al. 2025, arXiv:2509.21240"

    compare: Compare = "both"
    process_weight: float = 0.0
    scale: Scale = "unbiased"
    singleton: Singleton = "zero"
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_choice(self, "compare", Compare)
        check_choice(self, "scale", Scale)
        check_choice(self, "singleton", Singleton)
        check_range(self, 0.0, np.inf, "epsilon")

    def __call__(self, group: GroupSignals) -> Credit:
        """Return one track; see the class for the equations."""
        scores_G = episode_scores(group, self.process_weight)
        trees = group.trees_G or [str(attempt) for attempt in range(scores_G.size)]
        return (Track(constant(self.advantages(scores_G, trees), group)),)

    def advantages(self, scores_G: FloatArray, trees_G: tuple[str, ...] | list[str]) -> FloatArray:
        """Return one advantage per attempt from one score and one tree per attempt."""
        if self.compare == "inner":
            return self._inner(scores_G, trees_G)
        inter_G = self._inter(scores_G)
        if self.compare == "inter":
            return inter_G
        if self.compare == "nested":
            return self._inner(inter_G, trees_G)
        return np.asarray(inter_G + self._inner(scores_G, trees_G))

    def _inter(self, scores_G: FloatArray) -> FloatArray:
        if scores_G.size == 1:
            return self._inner(scores_G, ["lone"])
        return standardize(scores_G, self.scale, self.epsilon)

    def _inner(self, x_G: FloatArray, trees_G: tuple[str, ...] | list[str]) -> FloatArray:
        pool_G = anchors(trees_G)
        credit_G = standardize_within(x_G, pool_G, self.scale, self.epsilon)
        if self.singleton == "raw":
            lone_G = np.bincount(pool_G)[pool_G] == 1
            credit_G[lone_G] = x_G[lone_G]
        return credit_G

"""Exploration: did the episode learn from the database before it answered?"""

from __future__ import annotations

from dataclasses import dataclass

from text2sql_gym.rewards.recall import cells_of
from text2sql_gym.rewards.statements import ran
from text2sql_gym.types import Table, Transition

Facts = frozenset[object]


@dataclass(frozen=True)
class Exploration:
    """On the submission: the share of `enough` useful calls that came before it.

    A call is useful when it ran, read a table, and shows something of the gold for the first time
    in the episode: a column that the gold query reads, or a cell of its result. Best over the
    golds. Paid with the answer, so that exploring for ever pays nothing.

    Range: [0, 1]. No gold: 0.

    Gamed by: ``SELECT 1`` or a repeat: 0. A dump of a table shows everything at once: 1 / enough.
    One call a column, each useless by itself: 1.

    Source: ReEx-SQL (arXiv 2505.12768) names an exploration reward for effective interaction with
    the database. Its formula is not public; this one is our reconstruction.
    """

    enough: int = 2
    """how many useful calls are paid in full"""

    def __post_init__(self) -> None:
        if self.enough < 1:
            raise ValueError(f"enough: expected at least 1 call, got {self.enough}")

    def __call__(self, transition: Transition) -> float:
        """Judge the calls before a submission."""
        if not transition.result.final:
            return 0.0
        useful = max((_useful(transition, gold) for gold in transition.gold), default=0)
        return min(useful, self.enough) / self.enough


def _useful(transition: Transition, gold: Table) -> int:
    wanted = _facts(gold)
    seen: Facts = frozenset()
    useful = 0
    for turn in transition.history:
        table = turn.result.table
        if table is not None and table.reads and ran(turn.result):
            shown = _facts(table) & wanted
            useful += not shown <= seen
            seen |= shown
    return useful


def _facts(table: Table) -> Facts:
    """The columns read, and the cells shown."""
    return frozenset(("column", *pair) for pair in table.reads) | frozenset(
        ("cell", cell) for cell in cells_of(table)
    )

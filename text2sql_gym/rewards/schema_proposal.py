"""Schema proposals: does the policy say which tables and columns the answer needs?"""

from __future__ import annotations

from dataclasses import dataclass

from text2sql_gym.errors import ToolError
from text2sql_gym.registry import lookup
from text2sql_gym.rewards.schema_linking import MODES, SchemaItems, schema_score
from text2sql_gym.rewards.statements import named_in
from text2sql_gym.tools.propose_schema import parse_proposal
from text2sql_gym.types import CallOutcome, EpisodeOutcome, Schema, Task, Transition, Turn


@dataclass(frozen=True)
class SchemaProposal:
    """Score of a proposed schema against the one that the gold query reads; see `schema_score`.

    mode      how a proposal is scored: a name in `schema_linking.MODES`
    if_right  True: the score of the last proposal, on a submission that is right, else 0.
              False: on the turn that proposes, what the score gains over the best earlier one;
              sums to at most 1 over an episode.

    The gold items are what the text of the gold query names. Best over the golds. A proposal that
    the tool refused counts for nothing; a gold query that names no table pays nothing.

    Range: [0, 1].

    Gamed by: proposing everything: 0 under "total_match", 1 under "recall". Proposing one schema
    after another until one fits: 1 without `if_right`.

    Source: TRUST-SQL (arXiv 2603.16448), reward code; the paper couples "total_match" with a right
    answer, as `if_right` does. Payment on the proposing turn is our choice.
    """

    mode: str = "total_match"
    if_right: bool = True

    def __post_init__(self) -> None:
        lookup(MODES, self.mode, "schema score")

    def __call__(self, transition: Transition) -> float:
        """Judge one turn."""
        before = [self._score(turn, transition) for turn in transition.history]
        if self.if_right:
            right = transition.outcome is EpisodeOutcome.MATCH
            last = next((score for score in reversed(before) if score is not None), None)
            return last if right and last is not None else 0.0
        now = self._score(Turn(transition.call, transition.result), transition)
        best = max((score for score in before if score is not None), default=0.0)
        return 0.0 if now is None else max(0.0, now - best)

    def _score(self, turn: Turn, transition: Transition) -> float | None:
        """The score of the turn's proposal; None where it proposes nothing."""
        accepted = turn.result.outcome in (CallOutcome.OK, CallOutcome.DUPLICATE)
        if turn.call is None or turn.call.tool != "propose_schema" or not accepted:
            return None
        proposal = turn.call.arguments.get("schema", "")
        try:
            return proposal_score(proposal, transition.task, transition.schema, self.mode)
        except ToolError:
            return None


def proposal_score(proposal: str, task: Task, schema: Schema, mode: str = "total_match") -> float:
    """The best `schema_score` of a proposal over what the texts of the gold queries name.

    0 where no gold query names a table. Raises `ToolError` for a text that is no proposal.
    """
    proposed = parse_proposal(proposal)
    items = SchemaItems.of(proposed, proposed)
    named = (named_in(schema, sql, task.database) for sql in task.gold_sql)
    golds = [SchemaItems.of_pairs(pairs) for pairs in named if pairs]
    return max((schema_score(items, gold, mode) for gold in golds), default=0.0)

"""Hard constraints: a penalty for a step that breaks a rule, whatever the answer is worth."""

from __future__ import annotations

from dataclasses import dataclass

from text2sql_gym.types import VIOLATIONS, CallOutcome, Transition


@dataclass(frozen=True)
class HardConstraints:
    """-1.0 on a step that breaks one of the switched-on rules, else 0.0.

    mode        the action is one turn of the protocol
    read_only   the statement is a query, not a write, PRAGMA, ATTACH, ...
    executes    the statement runs without an error and within its limits
    no_repeat   the statement is not, up to case and spaces, one of this episode's earlier calls
    order       the call comes when the protocol allows it, and keeps to the proposed schema

    Range: {-1, 0}. A penalty, not a bonus: doing nothing useful does not pay. It pays nothing for
    guessing, so the known way around it is to submit at once; the outcome reward answers that.

    Source: FineStep (arXiv 2605.04719) names a hard-constraint process reward; which rules it has,
    their values and the rule against repeats are our reconstruction.
    """

    mode: bool = True
    read_only: bool = True
    executes: bool = True
    no_repeat: bool = True
    order: bool = True

    def __call__(self, transition: Transition) -> float:
        """Judge one turn."""
        broken = {
            CallOutcome.MALFORMED: self.mode,
            CallOutcome.NOT_ALLOWED: self.read_only,
            CallOutcome.SQL_ERROR: self.executes,
            CallOutcome.TIMEOUT: self.executes,
            CallOutcome.DUPLICATE: self.no_repeat,
        }
        broken |= dict.fromkeys(VIOLATIONS, self.order)
        return -1.0 if broken.get(transition.result.outcome, False) else 0.0

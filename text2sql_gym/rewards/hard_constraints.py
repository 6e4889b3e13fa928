"""Hard constraints: a penalty for a step that breaks a rule, whatever the answer is worth."""

from __future__ import annotations

import re
from dataclasses import dataclass

from text2sql_gym.types import VIOLATIONS, CallOutcome, ToolResult, Transition

_UNBROKEN = (CallOutcome.OK, CallOutcome.TRUNCATED)
_SYNTAX = re.compile(r"syntax error|parser error|incomplete input|unrecognized token", re.I)


@dataclass(frozen=True)
class HardConstraints:
    """-1.0 on a step that breaks one of the switched-on rules, else 0.0.

    mode        the action is one turn of the protocol
    parse       the call has the arguments its tool expects, and its SQL has no syntax error
    read_only   the statement is a query, not a write, PRAGMA, ATTACH, ...
    executes    the statement runs without an error (syntax included) and within its limits
    no_repeat   the statement is not, up to case and spaces, one of this episode's earlier calls
    order       the call comes when the protocol allows it, and keeps to the proposed schema
    submits     the last turn there is submits an answer

    Each rule can be switched off. A penalty, not a bonus: doing nothing useful does not pay.

    Range: {-1, 0}.

    Gamed by: submitting at once, or calls that are fine and useless (``SELECT 1``): 0. Without
    `submits`, a policy that is seldom right does best never to answer, as a failing answer is a
    penalty that a look at a table is not.

    Source: FineStep (arXiv 2605.04719) names a hard-constraint process reward; which rules it has,
    their values and the rule against repeats are our reconstruction.
    """

    mode: bool = True
    parse: bool = True
    read_only: bool = True
    executes: bool = True
    no_repeat: bool = True
    order: bool = True
    submits: bool = True

    def __call__(self, transition: Transition) -> float:
        """Judge one turn."""
        return -1.0 if self._breaks(transition) else 0.0

    def _breaks(self, transition: Transition) -> bool:
        result = transition.result
        if self.submits and transition.last and not result.final:
            return True
        if result.outcome in _UNBROKEN:
            return False
        if result.outcome is CallOutcome.MALFORMED:
            return self.mode if transition.call is None else self.parse
        if is_syntax_error(result):
            return self.parse or self.executes
        broken = {
            CallOutcome.NOT_ALLOWED: self.read_only,
            CallOutcome.SQL_ERROR: self.executes,
            CallOutcome.TIMEOUT: self.executes,
            CallOutcome.DUPLICATE: self.no_repeat,
        }
        broken |= dict.fromkeys(VIOLATIONS, self.order)
        return broken.get(result.outcome, False)


def is_syntax_error(result: ToolResult) -> bool:
    """Whether the engine could not read the statement, by the words of its error."""
    return (
        result.outcome is CallOutcome.SQL_ERROR and _SYNTAX.search(result.error or "") is not None
    )

"""Form: did the whole episode follow its protocol?"""

from __future__ import annotations

from text2sql_gym.rewards.hard_constraints import is_syntax_error
from text2sql_gym.rewards.statements import turns_of
from text2sql_gym.types import EXECUTED, VIOLATIONS, CallOutcome, Transition, Turn

_SLIPS = VIOLATIONS | {CallOutcome.MALFORMED}


def well_formed(transition: Transition) -> float:
    """1.0 on a submitted query that runs and ends an episode without a malformed turn, else 0.0.

    Paid once, at the end: a bonus on every turn would pay for turns. The answer may be wrong.

    Range: {0, 1}.

    Gamed by: submitting ``SELECT 1`` at once: 1.

    Source: the format reward of ReEx-SQL (arXiv 2505.12768), whose rules are not public; this one
    is our reconstruction.
    """
    turns = turns_of(transition)
    broken = any(turn.result.outcome is CallOutcome.MALFORMED for turn in turns)
    return float(_answered(transition) and not broken)


def four_phases(transition: Transition) -> float:
    """1.0 on a query submitted after exploring, proposing and generating without a slip, else 0.0.

    Exploring is any call before the first proposal, generating a query after it; each must have
    worked, and so must the submitted query. A slip is a malformed turn, a call out of order (see
    `trust_sql`), or a syntax error.

    Range: {0, 1}.

    Gamed by: three empty gestures (``SELECT 1``, any proposal, ``SELECT 2``) before the answer: 1.

    Source: TRUST-SQL (arXiv 2603.16448), reward code, where it is worth 0.1.
    """
    turns = turns_of(transition)
    slipped = any(
        turn.result.outcome in _SLIPS or is_syntax_error(turn.result)
        for turn in turns
    )
    return float(_answered(transition) and not slipped and _phases(turns))


def _answered(transition: Transition) -> bool:
    return transition.result.final and transition.result.table is not None


def _phases(turns: tuple[Turn, ...]) -> bool:
    worked = [turn.call.tool for turn in turns if turn.call and turn.result.outcome in EXECUTED]
    if "propose_schema" not in worked:
        return False
    proposed = worked.index("propose_schema")
    return proposed > 0 and "execute_sql" in worked[proposed:]

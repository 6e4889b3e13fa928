"""Outcome rewards that tell a wrong answer from one that does not run."""

from __future__ import annotations

from text2sql_gym.rewards.statements import turns_of
from text2sql_gym.types import CallOutcome, EpisodeOutcome, Transition


def trust_sql_outcome(transition: Transition) -> float:
    """1.0 for a right answer, 0.2 for one that runs and is wrong, 0.0 for one that fails.

    Paid on the submission. A task without gold earns 0.

    Range: {0, 0.2, 1}.

    Gamed by: ``SELECT 1``, which runs: 0.2.

    Source: TRUST-SQL (arXiv 2603.16448), reward code. There results are cut at 30 rows and
    compared as sets; here the matcher decides.
    """
    return _graded(transition, right=1.0, wrong=0.2, fails=0.0)


def arctic_outcome(transition: Transition) -> float:
    """1.0 for a right answer, 0.1 for one that runs and is wrong, 0.0 for one that fails.

    Paid on the submission. A task without gold earns 0.

    Range: {0, 0.1, 1}.

    Gamed by: ``SELECT 1``, which runs: 0.1.

    Source: Arctic-Text2SQL-R1 (arXiv 2505.20315). The published BIRD reward also pays 0.1 for any
    text in the right form; here it pays for running alone.
    """
    return _graded(transition, right=1.0, wrong=0.1, fails=0.0)


def skyrl_sql_outcome(transition: Transition) -> float:
    """-1.0 once for an episode that breaks the form, else 1.0 for a right answer, 0.0 for others.

    The -1 is paid on the first malformed turn, and nothing after it, so that leaving the answer
    out does not avoid it.

    Range: {-1, 0, 1}.

    Gamed by: never submitting, which earns 0 as a wrong answer does.

    Source: SkyRL-SQL, skyrl_gym/envs/sql (revision a9564572). There the form of the whole chat is
    judged at its end, and an episode without an answer earns -1; when turns run out is not
    seen by a term.
    """
    if _broke_the_form(transition):
        return _first_break(transition)
    return _graded(transition, right=1.0, wrong=0.0, fails=0.0)


def sql_r1_outcome(transition: Transition) -> float:
    """6.0 for a right answer, 0.0 for one that runs and is wrong, -1.0 for one that fails.

    These are the sums of form (1 or -1), execution (2 or -2) and result (3 or -3). An episode
    with a malformed turn earns -1 on that turn and nothing after it.

    Range: [-1, 6].

    Gamed by: ``SELECT 1``, which runs: 0, one more than a query that fails.

    Source: SQL-R1 (IDEA-FinAI/SQL-R1, verl/utils/reward_score/synsql.py, revision 9d7f923). Left
    out: up to 1 more for the length of a right answer. A gold query that fails is a fault
    here and a match there.
    """
    if _broke_the_form(transition):
        return _first_break(transition)
    return _graded(transition, right=6.0, wrong=0.0, fails=-1.0)


def _graded(transition: Transition, *, right: float, wrong: float, fails: float) -> float:
    paid = {
        EpisodeOutcome.MATCH: right,
        EpisodeOutcome.MISMATCH: wrong,
        EpisodeOutcome.PREDICTED_ERROR: fails,
    }
    return paid.get(transition.outcome, 0.0)


def _broke_the_form(transition: Transition) -> bool:
    return any(turn.result.outcome is CallOutcome.MALFORMED for turn in turns_of(transition))


def _first_break(transition: Transition) -> float:
    before = (turn.result.outcome for turn in transition.history)
    return 0.0 if CallOutcome.MALFORMED in before else -1.0

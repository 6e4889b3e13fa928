"""Call cost: what a turn that does not answer costs."""

from __future__ import annotations

from text2sql_gym.types import Transition


def call_cost(transition: Transition) -> float:
    """-1.0 on every turn but the submission, else 0.0.

    A malformed turn costs as much as a call. Keep its weight times the number of turns below the
    worth of an answer, or guessing at once becomes the best policy.

    Range: {-1, 0}.

    Gamed by: submitting at once: 0, whatever the answer.

    Source: FineStep (arXiv 2605.04719) claims fewer redundant calls without saying by which term;
    a plain price per call is our choice, and no preset pays it.
    """
    return 0.0 if transition.result.final else -1.0

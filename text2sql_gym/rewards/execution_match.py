"""Execution match (EX): is the submitted result right?"""

from __future__ import annotations

from text2sql_gym.types import EpisodeOutcome, Transition


def execution_match(transition: Transition) -> float:
    """1.0 on the turn that submits a result the matcher accepts, else 0.0.

    Sums to at most 1 over an episode, since a submission ends it. What counts as equal is the
    matcher's business. A gold query that fails is a fault, never a 0.

    Range: {0, 1}.

    Gamed by: whatever the matcher lets pass; "strict" refuses constants and lucky filters.

    Source: execution accuracy as Spider and BIRD define it, by the matcher of that name.
    """
    return float(transition.outcome is EpisodeOutcome.MATCH)

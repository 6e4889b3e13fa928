"""What became of a submission, and what a turn is paid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from text2sql_gym.backends.base import Backend
from text2sql_gym.episode import Episode
from text2sql_gym.matching import Matcher
from text2sql_gym.rewards import Reward, RewardScheme
from text2sql_gym.types import EpisodeOutcome, Limits, ToolCall, ToolResult, Transition


def judge(
    matcher: Matcher,
    call: ToolCall,
    result: ToolResult,
    episode: Episode,
    database: Backend,
    limits: Limits,
) -> EpisodeOutcome:
    """Return the verdict on a call that ended the episode: right if it matches any gold query."""
    if episode.outcome is EpisodeOutcome.GOLD_ERROR:
        return EpisodeOutcome.GOLD_ERROR
    if result.table is None:
        return EpisodeOutcome.PREDICTED_ERROR
    for gold in episode.golds:
        proved = not (episode.task.empty_proves_nothing and gold.is_empty)
        if proved and matcher(call.arguments["sql"], result.table, gold, database, limits) >= 1.0:
            return EpisodeOutcome.MATCH
    return EpisodeOutcome.MISMATCH if episode.golds else EpisodeOutcome.NO_GOLD


def paid(
    scheme: RewardScheme, rewards: Mapping[str, Reward], transition: Transition
) -> tuple[dict[str, float], float]:
    """Return the raw terms of a turn and their weighted sum; NaN when the gold is broken."""
    if transition.outcome is EpisodeOutcome.GOLD_ERROR:
        return nothing_paid(rewards, transition.outcome), math.nan
    terms = {name: reward(transition) for name, reward in rewards.items()}
    return terms, scheme.scalar(terms)


def nothing_paid(names: Iterable[str], outcome: EpisodeOutcome) -> dict[str, float]:
    """Return the terms where no turn was taken: zeros, or NaN when the gold is broken."""
    return dict.fromkeys(names, math.nan if outcome is EpisodeOutcome.GOLD_ERROR else 0.0)

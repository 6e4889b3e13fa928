"""What is done with attempts that run out of tokens: their ending says little about their steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from agents.credit import Credit
from agents.credit.base import GroupSignals
from agents.credit.selection import overlong_penalty
from agents.types import Ended, Group

RULES = ("keep", "mask", "penalty")


@dataclass(frozen=True)
class Overlong:
    """A rule for attempts that come to the end of their context or of a turn's tokens.

    keep     nothing is done: an attempt that was cut has failed
    mask     an attempt that was cut takes part in the comparison of its group, and is not
             trained on (overlong filtering of DAPO)
    penalty  what is added to the outcome falls from 0 to -1 over the last `cache` of the `limit`
             tokens of an attempt, prompt and results included (soft overlong punishment)

    Source: DAPO, arXiv:2503.14476, section 3.4, which counts the response of a single turn; that
    the tokens of a whole episode are counted is our reading for several turns.

    Raises ValueError for another rule, or without 0 < cache <= limit.
    """

    rule: str = "keep"
    limit: int = 1
    cache: int = 1

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"overlong: expected one of {RULES}, got {self.rule!r}")
        if self.rule == "penalty" and not 0 < self.cache <= self.limit:
            raise ValueError(f"overlong: need 0 < cache <= {self.limit}, got {self.cache}")

    def signals(self, group: Group, *, by_token: bool = False) -> GroupSignals:
        """What estimators see of a group, with a step per turn or per sampled token."""
        signals = group.token_signals() if by_token else group.signals()
        if self.rule != "penalty":
            return signals
        lengths_G = np.array([float(attempt.tokens) for attempt in group.attempts])
        penalty_G = overlong_penalty(lengths_G, self.limit, self.cache)
        return replace(signals, outcome_G=signals.outcome_G + penalty_G)

    def credit(self, group: Group, credit: Credit) -> Credit:
        """The credit of a group without what is not to be trained on."""
        cut_G = [attempt.ended is Ended.TOKEN_LIMIT for attempt in group.attempts]
        if self.rule != "mask" or not any(cut_G):
            return credit
        tracks = []
        for track in credit:
            advantages_GS = track.advantages_GS
            masks_GS = track.mask_GS or tuple(np.ones(a_S.size, bool) for a_S in advantages_GS)
            kept_GS = tuple(m_S & (not cut) for m_S, cut in zip(masks_GS, cut_G, strict=True))
            left_GS = tuple(a_S * m_S for a_S, m_S in zip(advantages_GS, kept_GS, strict=True))
            tracks.append(replace(track, advantages_GS=left_GS, mask_GS=kept_GS))
        return tuple(tracks)

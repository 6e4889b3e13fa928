"""Which groups to train on, and a penalty for attempts that grow too long: DAPO's other parts."""

from __future__ import annotations

import numpy as np

from agents.credit.base import FloatArray, GroupSignals


def is_informative(group: GroupSignals, *, process: bool = False) -> bool:
    """Say whether the attempts of a group differ in outcome, so that comparing them teaches.

    With `process`, different process rewards are enough. Compared exactly, without a deviation:
    the deviation of 0.1 three times is 1e-17, not 0. A single attempt is not informative (verl
    keeps it).

    Source: dynamic sampling of DAPO, arXiv:2503.14476.
    """
    if group.outcome_G.size < 2:
        return False
    if group.outcome_G.max() > group.outcome_G.min():
        return True
    if not process:
        return False
    rewards_N = np.concatenate(group.process_GS)
    return bool(rewards_N.max() > rewards_N.min())


def overlong_penalty(
    lengths: FloatArray, limit: int, cache: int, *, factor: float = 1.0, floor: bool = True
) -> FloatArray:
    """Return what to add to the outcome of attempts of these many sampled tokens.

        0                                     up to limit - cache
        factor * (limit - cache - n) / cache  beyond, falling to -factor at the limit
        -factor                               above the limit (`floor`), else falling on (verl)

    Source: soft overlong punishment of DAPO, arXiv:2503.14476, equation 13.
    """
    if not 0 < cache <= limit:
        raise ValueError(f"need 0 < cache <= limit, got {cache}, {limit}")
    ramp = np.minimum((limit - cache - np.asarray(lengths, dtype=np.float64)) / cache, 0.0)
    return np.asarray(factor * (np.maximum(ramp, -1.0) if floor else ramp))

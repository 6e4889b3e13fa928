"""How tokens are drawn: from numbers that belong to a place in an episode, not to a schedule."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch


def uniforms(seed: int, turn: int, count: int) -> npt.NDArray[np.float64]:
    """The first `count` numbers in [0, 1) of a turn of the sequence with this seed."""
    return np.random.default_rng((seed, turn)).random(count)


def inverse_cdf(logprobs_BV: torch.Tensor, uniforms_B: torch.Tensor) -> torch.Tensor:
    """The smallest token whose cumulative probability exceeds the uniform number."""
    cumulative_BV = logprobs_BV.exp().cumsum(dim=-1)
    targets_B1 = (uniforms_B.to(cumulative_BV.dtype) * cumulative_BV[:, -1])[:, None]
    return torch.searchsorted(cumulative_BV, targets_B1, right=True)[:, 0].clamp(
        max=logprobs_BV.shape[1] - 1
    )

"""A copying drill: lists of random words said twice, before any demonstration is seen.

A model from random weights finds out how to copy from its context suddenly and late when queries
are all it sees: a demonstration holds a dozen names worth copying. A list of random words said
twice holds nothing else, so the same skill (an induction head) forms within about a hundred
steps, and imitation starts where copying is already there.

Source: the repeated random sequences are those of Olsson et al. 2022, "In-context learning and
induction heads", arXiv:2209.11895, used there as a test; to use them as a drill is our choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from agents.batch import Batch


@dataclass(frozen=True)
class Drill:
    """A batch of `rows` lists of `words` different tokens, each said twice.

    The mask is 1 on the second saying but for its first word, which nothing announces.
    """

    tokens: tuple[int, ...]
    rows: int = 32
    words: int = 24

    def __call__(self, draws: np.random.Generator) -> Batch:
        """Draw a batch; behaviour and turns are empty."""
        count = min(self.words, len(self.tokens))
        lists = [draws.permutation(self.tokens)[:count] for _ in range(self.rows)]
        once_BT = torch.from_numpy(np.stack(lists))
        ids_BT = torch.cat([once_BT, once_BT], dim=1)
        mask_BT = torch.zeros(ids_BT.shape)
        mask_BT[:, count + 1 :] = 1.0
        return Batch(ids_BT, mask_BT, torch.zeros(ids_BT.shape), torch.where(mask_BT > 0, 0, -1))


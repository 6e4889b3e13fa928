"""Rename the words of a demonstration at random, so that names must be copied, not remembered.

A model trained from nothing on a few hundred databases learns their names by heart and has no
idea what to do with a name it never saw. A renaming is a random permutation of the tokens that
are content words, applied to a whole episode: schema, question, queries and results stay
consistent, and the only way to say the right name is to find it in the context.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from agents.batch import Batch
from agents.types import Trajectory


@dataclass(frozen=True)
class Renaming:
    """Permute content words in a share of the episodes.

    share    probability that an episode is renamed
    tokens   ids that may stand for each other
    size     number of ids of the tokenizer
    """

    share: float
    tokens: tuple[int, ...]
    size: int

    @classmethod
    def of(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        episodes: Sequence[Trajectory],
        share: float = 0.5,
        common: float = 0.05,
    ) -> Renaming:
        """Content words: letters alone, in a turn or a result of at most `common` of the episodes.

        A word that stands in questions only, or in more episodes, is language: it has a meaning
        to learn. One that is queried or shown is a name or a value.
        """
        seen: Counter[int] = Counter()
        for episode in episodes:
            seen.update(set(_tokens(episode)))
        words = tuple(
            token
            for token, count in sorted(seen.items())
            if tokenizer.decode([token]).isalpha() and count <= common * len(episodes)
        )
        return cls(share, words, len(tokenizer))

    def __call__(self, batch: Batch, draws: np.random.Generator) -> Batch:
        """Return the batch with each row renamed, or not, on its own."""
        ids_BT = batch.token_ids_BT.clone()
        words = np.array(self.tokens)
        for row in range(len(ids_BT)):
            if draws.random() < self.share:
                names = np.arange(self.size)
                names[words] = draws.permutation(words)
                ids_BT[row] = torch.from_numpy(names)[ids_BT[row]]
        return Batch(ids_BT, batch.mask_BT, batch.behaviour_BT, batch.turn_BT, batch.tracks)


def _tokens(episode: Trajectory) -> list[int]:
    """What was said and shown: turns and results, not the prompt."""
    results = [token for step in episode.steps[1:] for token in step.context_ids]
    return results + [token for step in episode.steps for token in step.completion.token_ids]

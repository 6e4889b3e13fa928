"""Prompts of groups: their keys and values are stored once, and read once for all of a group.

Shape suffixes: B rows, T new tokens of a row, G prompts, M rows of a prompt, K heads of keys, E
heads that share them, P positions of a prompt, C columns of a row, D size of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from agents.policies.cache import Rows


@dataclass(frozen=True)
class Shared:
    """The prompts of the rows of one pass.

    keys, values   (G, K, P, D) of every layer
    slot_B         which prompt a row has
    member_B       its place among the rows of that prompt
    rows_GM        the rows of each prompt; 0 where there is none
    length_B       tokens of each row's prompt
    """

    keys: Sequence[Tensor]
    values: Sequence[Tensor]
    slot_B: Tensor
    member_B: Tensor
    rows_GM: Tensor
    length_B: Tensor

    def seen_BP(self) -> Tensor:
        """Which columns of its prompt each row sees."""
        columns_P = torch.arange(self.keys[0].shape[2], device=self.length_B.device)
        return columns_P < self.length_B[:, None]

    def before(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the rows with those of their prompts before them, copied."""
        pairs = ((self.keys[layer], keys), (self.values[layer], values))
        found = [torch.cat([prompts[self.slot_B], own], dim=2) for prompts, own in pairs]
        return found[0], found[1]

    def scores(self, layer: int, query_BKED: Tensor) -> Tensor:
        """Products of queries with the keys of the row's prompt: (B, K, E, P)."""
        found = torch.matmul(self._gathered(query_BKED), self.keys[layer].transpose(2, 3))
        return self._scattered(found, query_BKED.shape[2])

    def weighted(self, layer: int, weights_BKEP: Tensor) -> Tensor:
        """Sums of the values of the row's prompt with these weights: (B, K, E, D)."""
        found = torch.matmul(self._gathered(weights_BKEP), self.values[layer])
        return self._scattered(found, weights_BKEP.shape[2])

    def _gathered(self, rows_BKEX: Tensor) -> Tensor:
        """From rows to prompts: (G, K, M * E, X)."""
        return rows_BKEX[self.rows_GM].transpose(1, 2).flatten(2, 3)

    def _scattered(self, found_GKNX: Tensor, each: int) -> Tensor:
        """The inverse, N = M * E."""
        prompts, groups, _, size = found_GKNX.shape
        found_GKMEX = found_GKNX.reshape(prompts, groups, -1, each, size)
        return found_GKMEX.transpose(1, 2)[self.slot_B, self.member_B]


class Prompts:
    """A store of prompts, each kept as long as a row has it."""

    def __init__(self, model: PreTrainedModel, context: int) -> None:
        self.store = Rows(model, 0, context)
        self._device = model.device
        self._lengths: list[int] = []  # by slot
        self._holders: list[int] = []

    def add(self, length: int, holders: int) -> int:
        """Take a slot for a prompt of so many tokens that so many rows have."""
        slot = next((s for s, count in enumerate(self._holders) if not count), len(self._holders))
        if slot == len(self._holders):
            self._lengths.append(0)
            self._holders.append(0)
        self._lengths[slot], self._holders[slot] = length, holders
        return slot

    def release(self, slot: int) -> None:
        """One row less has this prompt."""
        self._holders[slot] -= 1

    def shared(self, slots: Sequence[int]) -> Shared:
        """The prompts of the rows of a pass, which have these slots."""
        rows: list[list[int]] = [[] for _ in self._holders]
        members = []
        for row, slot in enumerate(slots):
            members.append(len(rows[slot]))
            rows[slot].append(row)
        most = max(map(len, rows))
        padded = [found + [0] * (most - len(found)) for found in rows]
        lengths = [self._lengths[slot] for slot in slots]
        numbers = (list(slots), members, padded, lengths)
        tensors = (torch.tensor(found, device=self._device) for found in numbers)
        return Shared(self.store.keys, self.store.values, *tensors)

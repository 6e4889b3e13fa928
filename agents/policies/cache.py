"""Keys and values of many sequences, a row each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from agents.policies.base import head_size

_COLUMNS = 32
"""The store grows by so many positions, so that it is hardly wider than what is read: PyTorch's
products in bf16 on a CPU copy what does not lie in one piece, for every token in every layer."""


class Rows:
    """Keys and values of all rows, written in place; `columns` bounds what attention reads.

    Attention layers ask a cache for `update` alone when positions and a 4-D mask are given.
    """

    def __init__(self, model: PreTrainedModel, rows: int, context: int) -> None:
        config = model.config.get_text_config()
        self._context = context
        shape = (rows, config.num_key_value_heads, 0, head_size(model))
        layers = range(config.num_hidden_layers)
        empty = torch.zeros(shape, dtype=model.dtype, device=model.device)
        self.keys, self.values = [empty for _ in layers], [empty for _ in layers]
        self._at: slice | torch.Tensor = slice(0, 0)
        self._columns_BT = torch.zeros(0, 0, dtype=torch.long)
        self._columns = 0

    @property
    def rows(self) -> int:
        """Rows that there is room for."""
        return len(self.keys[0])

    def reserve(self, columns: int, rows: int = 0) -> int:
        """Make room for that many positions; return how many the next pass reads at least."""
        columns = min(self._context, -(-columns // _COLUMNS) * _COLUMNS)
        for store in (self.keys, self.values):
            for layer, old in enumerate(store):  # one at a time: both are there while it is copied
                if columns > old.shape[2] or rows > len(old):
                    store[layer] = _larger(old, max(rows, len(old)), max(columns, old.shape[2]))
        return columns

    def at(self, rows: slice | torch.Tensor, columns_BT: torch.Tensor, columns: int) -> Rows:
        """Aim the next forward pass at these rows and columns, and at reserved columns to read."""
        self._at, self._columns_BT, self._columns = rows, columns_BT, columns
        return self

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (B, heads, T, size) at the rows' columns; return all columns read so far."""
        rows = self._at
        if isinstance(rows, slice):
            rows = torch.arange(rows.start, rows.stop, device=keys.device)
        found = []
        for store, new in ((self.keys[layer], keys), (self.values[layer], values)):
            store[rows[:, None], :, self._columns_BT] = new.transpose(1, 2)
            found.append(store[self._at, :, : self._columns])
        return found[0], found[1]

    def copy(self, source: int, targets: Sequence[int], length: int) -> None:
        """Copy the first `length` positions of one row to others."""
        for store in (*self.keys, *self.values):
            copied = store[source : source + 1, :, :length].clone()  # else both are one memory
            store[list(targets), :, :length] = copied


@torch.inference_mode(False)
def _larger(old: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The same with zeros behind it; it can be written to inside and outside of inference mode."""
    before, heads, width, size = old.shape
    made = old.new_zeros(rows, heads, columns, size)
    made[:before, :, :width] = old
    return made

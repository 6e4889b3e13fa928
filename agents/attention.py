"""Rows that begin with the same tokens, run through a model with that beginning computed once.

Shape suffixes: B rows, G groups of rows with one beginning, P its padded length, S the padded
length of what follows, C = P + S columns of keys, T tokens of a whole row, D hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

_TAKE_KEYS = ("eager", "sdpa")


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the scores of attention for a mask: 0 where it is on, else the minimum."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(
        ~mask, torch.finfo(dtype).min
    )


def takes_keys(model: PreTrainedModel) -> bool:
    """Whether the layers of a model can be given keys of earlier tokens, with their gradient.

    Not where activations are checkpointed, which switches caches off, nor where a layer sees a
    window of the sequence or is no attention at all.
    """
    config = model.config.get_text_config()
    full = {"full_attention"} >= set(getattr(config, "layer_types", None) or ())
    layers = (getattr(module, "gradient_checkpointing", False) for module in model.modules())
    checkpointed = model.training and any(layers)
    return full and not checkpointed and model.config._attn_implementation in _TAKE_KEYS


@dataclass(frozen=True)
class Beginnings:
    """Which rows begin with the same tokens.

    group_B    the number of a row's group, from 0 in the order of their first rows
    first_G    a row of each group
    length_G   tokens that all rows of the group have in common before the last one that
               something sampled follows
    """

    group_B: Tensor
    first_G: Tensor
    length_G: Tensor

    @property
    def saved(self) -> int:
        """Tokens that need not be computed again."""
        rows_G = torch.bincount(self.group_B, minlength=len(self.first_G))
        return int(((rows_G - 1) * self.length_G).sum())


def beginnings(token_ids_BT: Tensor, mask_BT: Tensor, group_B: Tensor) -> Beginnings:
    """Find the beginnings of the groups of rows; `mask_BT` is 1 on sampled tokens."""
    numbers, of_row_B = torch.unique(group_B, return_inverse=True)
    first, lengths = [], []
    for number in range(len(numbers)):
        rows = (of_row_B == number).nonzero()[:, 0]
        # the token before the first sampled one predicts it, so it belongs to the rows
        prompts = mask_BT[rows].argmax(dim=1) - 1
        same_T = (token_ids_BT[rows] == token_ids_BT[rows[0]]).all(dim=0)
        common = int(same_T.long().cumprod(dim=0).sum())
        first.append(int(rows[0]))
        lengths.append(max(0, min(common, int(prompts.min()))))
    return Beginnings(of_row_B, torch.tensor(first), torch.tensor(lengths))


def states_before(
    model: PreTrainedModel, token_ids_BT: Tensor, wanted_BT: Tensor, shared: Beginnings
) -> Tensor:
    """Return the last hidden states at the wanted positions, row after row: (N, D).

    `wanted_BT` is on at no position of a beginning. The states and their gradient are those of
    whole rows, up to the order of sums.
    """
    decoder, device = model.get_decoder(), model.device
    width = int(shared.length_G.max())
    columns_P = torch.arange(width)
    keys = _Keys()
    decoder(
        input_ids=token_ids_BT[shared.first_G, :width].to(device),
        attention_mask=additive(_causal(width), model.dtype)[None, None].to(device),
        position_ids=columns_P[None].expand(len(shared.first_G), -1).to(device),
        past_key_values=keys,
        use_cache=True,
    )
    start_B = shared.length_G[shared.group_B]
    ends_B = (wanted_BT * (1 + torch.arange(wanted_BT.shape[1]))).amax(dim=1)
    rest = int((ends_B - start_B).max())
    positions_BS = start_B[:, None] + torch.arange(rest)
    inside_BS = positions_BS.clamp(max=token_ids_BT.shape[1] - 1)
    seen_BP = columns_P < start_B[:, None]
    seen_BSC = torch.cat(
        [seen_BP[:, None].expand(-1, rest, -1), _causal(rest).expand(len(start_B), -1, -1)], dim=2
    )
    keys.repeat(shared.group_B.to(device))
    hidden_BSD = decoder(
        input_ids=token_ids_BT.gather(1, inside_BS).to(device),
        attention_mask=additive(seen_BSC, model.dtype)[:, None].to(device),
        position_ids=positions_BS.to(device),
        past_key_values=keys,
        use_cache=True,
    ).last_hidden_state
    wanted_BS = wanted_BT.gather(1, inside_BS) & (positions_BS < ends_B[:, None])
    return cast(Tensor, hidden_BSD[wanted_BS.to(device)])


class _Keys:
    """Keys and values of a beginning, layer by layer, in the place of a cache.

    Attention layers ask a cache for `update` alone when positions and a 4-D mask are given.
    """

    def __init__(self) -> None:
        self._layers: list[tuple[Tensor, Tensor]] = []
        self._rows: Tensor | None = None

    def repeat(self, group_B: Tensor) -> None:
        """From now on give each row of the next pass what its group has, and keep no more."""
        self._rows = group_B

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Keep (G, heads, P, size); later return it before (B, heads, S, size)."""
        if self._rows is None:
            self._layers.append((keys, values))
            return keys, values
        before, worth = (kept.index_select(0, self._rows) for kept in self._layers[layer])
        return torch.cat([before, keys], dim=2), torch.cat([worth, values], dim=2)


def _causal(width: int) -> Tensor:
    return torch.ones(width, width, dtype=torch.bool).tril()

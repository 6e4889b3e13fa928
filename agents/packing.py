"""Rows run through a model as one sequence without padding; what rows begin with runs once.

Shape suffixes: B rows, T tokens of a padded row, N tokens of the sequence, W positions whose
states are wanted, R rows of a group, D size of a state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from agents.attention import NAME, Pieces, attending, side_by_side

PLAIN = ("granite", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3", "qwen3_moe", "smollm3")
"""types of models whose attention is softmax over all earlier tokens, and nothing else"""


@dataclass(frozen=True)
class Packing:
    """Rows laid out one after another, after what the rows of their group begin with.

    token_ids_N, position_ids_N   the sequence; a position counts from the start of its row
    pieces                        the beginnings and the rests of rows, as they attend
    place_W                       where the wanted states are, row after row
    """

    token_ids_N: Tensor
    position_ids_N: Tensor
    pieces: tuple[Pieces, ...]
    place_W: Tensor


def is_plain(model: nn.Module) -> bool:
    """Whether rows of a model can be packed: it is of a type in `PLAIN`, without a window."""
    if not isinstance(model, PreTrainedModel):
        return False
    config = model.config.get_text_config()
    full = {"full_attention"} >= set(getattr(config, "layer_types", None) or ())
    whole = getattr(config, "sliding_window", None) is None
    return config.model_type in PLAIN and full and whole and not config.attention_dropout


def packs(model: nn.Module) -> bool:
    """Whether rows of a model are packed as it is now.

    Where activations are computed again in the backward pass, only inside of
    `agents.precision.training`, which has the model attend by pieces then too.
    """
    if not is_plain(model):
        return False
    layers = (getattr(module, "gradient_checkpointing", False) for module in model.modules())
    again = model.training and torch.is_grad_enabled() and any(layers)
    return not again or cast(PreTrainedModel, model).config._attn_implementation == NAME


def pack(token_ids_BT: Tensor, wanted_BT: Tensor, group_B: Tensor) -> Packing:
    """Lay rows out up to the last position of each whose state is wanted.

    `group_B` numbers the groups. What all rows of a group of several have in common before the
    first position that is wanted is there once. Rows without such a position are left out.
    """
    ends = (wanted_BT * (1 + torch.arange(wanted_BT.shape[1]))).amax(dim=1).tolist()
    ids: list[Tensor] = []
    positions: list[Tensor] = []
    sizes: list[int] = []
    before: list[int] = []
    place_BT = torch.zeros_like(token_ids_BT)

    def add(row: int, start: int, end: int, beginning: int) -> int:
        """Add a piece; return where it begins in the sequence."""
        ids.append(token_ids_BT[row, start:end])
        positions.append(torch.arange(start, end))
        sizes.append(end - start)
        before.append(beginning)
        return sum(sizes[:-1])

    for number in torch.unique(group_B).tolist():
        rows = [row for row in (group_B == number).nonzero()[:, 0].tolist() if ends[row]]
        common = _common(token_ids_BT[rows], wanted_BT[rows])
        beginning = len(sizes) if common else -1
        if common:
            add(rows[0], 0, common, -1)
        for row in rows:
            at = add(row, common, ends[row], beginning)
            place_BT[row, common : ends[row]] = torch.arange(at, at + sizes[-1])
    pieces = side_by_side(sizes, before)
    return Packing(torch.cat(ids), torch.cat(positions), pieces, place_BT[wanted_BT])


def _common(token_ids_RT: Tensor, wanted_RT: Tensor) -> int:
    """Tokens that several rows begin with, before the first position that is wanted."""
    if len(token_ids_RT) < 2:
        return 0
    same_T = (token_ids_RT == token_ids_RT[0]).all(dim=0)
    first = int(wanted_RT.long().argmax(dim=1).min())
    return min(first, int(same_T.long().cumprod(dim=0).sum()))


def wanted_states(
    model: PreTrainedModel, token_ids_BT: Tensor, wanted_BT: Tensor, group_B: Tensor
) -> Tensor:
    """Return the last hidden states at the wanted positions, row after row: (W, D).

    They and their gradient are those of whole rows, up to the order of sums.
    """
    packing, device = pack(token_ids_BT, wanted_BT, group_B), model.device
    with attending(model, NAME):
        hidden_1ND = model.get_decoder()(
            input_ids=packing.token_ids_N[None].to(device),
            position_ids=packing.position_ids_N[None].to(device),
            attention_mask=torch.zeros(1, 1, 1, 1, device=device),  # else one of (N, N) is made
            use_cache=False,
            pieces=packing.pieces,
        ).last_hidden_state
    return cast(Tensor, hidden_1ND[0, packing.place_W.to(device)])

"""Rows run through a model as one sequence without padding; what rows begin with runs once.

Shape suffixes: B rows, T tokens of a padded row, N tokens of the sequence, W positions whose
states are wanted, H heads, K heads of keys, S tokens of a piece, C tokens that it sees, D size of a
head or state.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "by_pieces"
"""of `attend`, among the implementations of attention of transformers"""

PLAIN = ("granite", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3", "qwen3_moe", "smollm3")
"""types of models whose attention is softmax over all earlier tokens, and nothing else"""


@dataclass(frozen=True)
class Packing:
    """Rows laid out one after another, after what the rows of their group begin with.

    token_ids_N, position_ids_N   the sequence; a position counts from the start of its row
    sizes                         tokens of each piece: a beginning, or the rest of a row
    before                        for each piece the beginning that it sees besides itself, or -1
    place_W                       where the wanted states are, row after row
    """

    token_ids_N: Tensor
    position_ids_N: Tensor
    sizes: tuple[int, ...]
    before: tuple[int, ...]
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
    return Packing(
        torch.cat(ids), torch.cat(positions), tuple(sizes), tuple(before), place_BT[wanted_BT]
    )


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
            packing=packing,
        ).last_hidden_state
    return cast(Tensor, hidden_1ND[0, packing.place_W.to(device)])


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None = None,
    packing: Packing | None = None,
    **options: object,
) -> tuple[Tensor, Tensor | None]:
    """Attention by the interface of transformers; without a packing, PyTorch's.

    query (1, H, N, D); keys and values (1, K, N, D). Returns (1, N, H, D).
    """
    if packing is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, mask, scaling=scaling, **options
        )
        return found
    kind = query.device.type
    mixed = torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if mixed else query.dtype
    look = _by_products if kind == "cpu" else _fused
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    with torch.autocast(kind, enabled=False):
        queries, keys, values = (
            torch.split(part[0].to(dtype), list(packing.sizes), dim=1)
            for part in (query * scaling, key, value)
        )
        pieces = []
        for own, beginning in enumerate(packing.before):
            seen, worth = keys[own], values[own]
            if beginning >= 0:
                seen = torch.cat([keys[beginning], seen], dim=1)
                worth = torch.cat([values[beginning], worth], dim=1)
            pieces.append(look(queries[own], seen, worth).transpose(0, 1))
        return torch.cat(pieces)[None], None


def _by_products(query_HSD: Tensor, key_KCD: Tensor, value_KCD: Tensor) -> Tensor:
    """Attention of the last S of C tokens to all before each, with scores as they are: (H, S, D).

    For a CPU, where the backward pass of PyTorch's fused attention is several times slower in bf16.
    """
    heads, tokens, size = query_HSD.shape
    shared, width = key_KCD.shape[:2]
    queries = query_HSD.reshape(shared, heads // shared * tokens, size)
    scores = torch.bmm(queries, key_KCD.transpose(1, 2)).view(shared, -1, tokens, width)
    later_SC = ~_sees(tokens, width, query_HSD.device)
    chances = scores.masked_fill_(later_SC, torch.finfo(scores.dtype).min).softmax(dim=-1)
    return torch.bmm(chances.view(shared, -1, width), value_KCD).view(heads, tokens, size)


def _fused(query_HSD: Tensor, key_KCD: Tensor, value_KCD: Tensor) -> Tensor:
    """The same by PyTorch's fused attention, which holds no scores."""
    sees_SC = _sees(query_HSD.shape[1], key_KCD.shape[1], query_HSD.device)
    query, key, value = query_HSD[None], key_KCD[None], value_KCD[None]
    return scaled_dot_product_attention(query, key, value, sees_SC, scale=1.0, enable_gqa=True)[0]


def _sees(tokens: int, width: int, device: torch.device) -> Tensor:
    """Which of all tokens each of the last ones sees: itself and those before it."""
    return torch.ones(tokens, width, dtype=torch.bool, device=device).tril(width - tokens)


@contextmanager
def attending(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Let a model attend by the implementation of this name for the block."""
    before = model.config._attn_implementation
    model.config._attn_implementation = name
    try:
        yield
    finally:
        model.config._attn_implementation = before


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)

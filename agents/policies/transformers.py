"""A transformers causal LM as a rollout policy: continuous batching over one cache.

Every episode owns one row of a key/value cache for its whole life, so no prefix is computed twice:
the prompt of a group is prefilled once, into a store that its rows share, and an observation is
appended where the turn ended. Rows advance independently; a row whose observation is long is
prefilled beside the others and joins the next decoding tick. When an episode ends, the last row
moves to its place, so that a tick covers as many rows as there are episodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from agents.chat import Chat
from agents.packing import is_plain
from agents.policies.base import Sampling, check_group, check_prompt, end_tokens
from agents.policies.cache import Rows
from agents.policies.decoding import additive, one_token_a_row
from agents.policies.draws import inverse_cdf, uniforms
from agents.policies.prompts import Prompts, Shared
from agents.types import Completion


@dataclass
class _Sequence:
    """One episode's tokens: what is in the cache, what waits to be fed, what was just sampled.

    Of `length` tokens in the cache, the first `base` are those of the shared prompt `slot`.
    """

    handle: int
    seed: int
    row: int = -1
    slot: int = -1
    base: int = 0
    length: int = 0
    turns: int = 0
    feed: list[int] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    uniforms: list[float] = field(default_factory=list)
    idle: bool = False


class TransformersPolicy:
    """`Policy` over a causal LM of transformers, on the model's device and in its dtype.

    rows     episodes in flight at once; more are queued in the order they were opened
    context  tokens of an episode; a sequence that would not fit ends its turn unstopped

    Draws: each token of a sequence is the inverse of the cumulative distribution at a uniform
    number that depends on (sequence seed, turn, place), so the schedule does not change them.
    """

    def __init__(
        self, model: PreTrainedModel, chat: Chat, sampling: Sampling, *, rows: int, context: int
    ) -> None:
        self.model, self.chat, self.sampling = model, chat, sampling
        self.context = context
        self.version = 0
        self._stops = {chat.stop_id, *end_tokens(model)}
        self._cache = Rows(model, rows, context)
        self._prompts = Prompts(model, context) if is_plain(model) else None
        self._used: list[_Sequence] = []  # by row
        self._queue: deque[list[_Sequence]] = deque()
        self._sequences: dict[int, _Sequence] = {}
        self._opened = 0

    def open(self, prompt_ids: Sequence[int], seeds: Sequence[int]) -> list[int]:
        """Begin one sequence per seed on one prompt. Raises ValueError for an over-long prompt."""
        check_prompt(prompt_ids, self.context)
        check_group(seeds, self._cache.rows)
        group = []
        for seed in seeds:
            group.append(_Sequence(self._opened, seed, feed=list(prompt_ids)))
            self._sequences[self._opened] = group[-1]
            self._opened += 1
        self._queue.append(group)
        return [sequence.handle for sequence in group]

    def extend(self, handle: int, token_ids: Sequence[int]) -> None:
        """Append an observation and ask for the next turn."""
        sequence = self._sequences[handle]
        sequence.feed += token_ids
        self._begin_turn(sequence)

    def close(self, handle: int) -> None:
        """Forget a sequence; the last row moves to its place."""
        sequence, last = self._sequences.pop(handle), self._used.pop()
        if self._prompts is not None:
            self._prompts.release(sequence.slot)
        if last is not sequence:
            self._cache.copy(last.row, [sequence.row], last.length - last.base)
            last.row, self._used[sequence.row] = sequence.row, last

    def advance(self) -> list[tuple[int, Completion]]:
        """Prefill and decode until at least one turn is complete."""
        with torch.inference_mode(), self._attention():
            while True:
                done = self._admit()
                asked = [s for s in self._sequences.values() if s.row >= 0 and not s.idle]
                if not asked:
                    return done
                waiting = [sequence for sequence in asked if len(sequence.feed) > 1]
                if 4 * len(waiting) >= len(asked):
                    done += self._prefill(waiting)
                else:
                    done += self._tick([s for s in asked if len(s.feed) == 1])
                if done:
                    return done

    def _admit(self) -> list[tuple[int, Completion]]:
        groups = []
        rows = self._cache.rows
        while self._queue and len(self._queue[0]) <= rows - len(self._used):
            groups.append(self._queue.popleft())
            for sequence in groups[-1]:
                sequence.row = len(self._used)
                self._used.append(sequence)
                self._begin_turn(sequence)
        return self._open_groups(groups) if groups else []

    def _open_groups(self, groups: list[list[_Sequence]]) -> list[tuple[int, Completion]]:
        """Feed the prompt of each group once, and draw everyone's first token."""
        firsts = [group[0] for group in groups]
        ids_BT, last_B = self._padded(firsts)
        if self._prompts is None:
            logits_BV = self._forward(firsts, ids_BT, last_B)
            for first, *others in groups:
                if others:
                    self._cache.copy(first.row, [s.row for s in others], len(first.feed))
        else:
            slots = [self._prompts.add(len(group[0].feed), len(group)) for group in groups]
            for group, slot in zip(groups, slots, strict=True):
                for sequence in group:
                    sequence.slot, sequence.base = slot, len(sequence.feed)
            positions_BT = torch.arange(ids_BT.shape[1]).expand(len(groups), -1)
            store, width = self._prompts.store, ids_BT.shape[1]
            columns = store.reserve(width, rows=1 + max(slots))
            store.at(torch.tensor(slots).to(self.model.device), positions_BT, columns)
            mask_BTC = torch.arange(columns) <= positions_BT[:, :, None]
            logits_BV = self._through(ids_BT, positions_BT, mask_BTC, last_B, store)
        everyone = [sequence for group in groups for sequence in group]
        for sequence in everyone:
            sequence.length, sequence.feed = len(sequence.feed), []
        repeats = torch.tensor([len(group) for group in groups], device=logits_BV.device)
        return self._draw(everyone, logits_BV.repeat_interleave(repeats, dim=0))

    def _begin_turn(self, sequence: _Sequence) -> None:
        count = self.sampling.max_new_tokens
        sequence.uniforms = uniforms(sequence.seed, sequence.turns, count).tolist()
        sequence.token_ids, sequence.logprobs, sequence.idle = [], [], False

    def _prefill(self, sequences: list[_Sequence]) -> list[tuple[int, Completion]]:
        """Feed all that waits to be fed, and draw the first token of each turn."""
        full = [sequence for sequence in sequences if self._overflows(sequence)]
        done = [(sequence.handle, self._complete(sequence, stopped=False)) for sequence in full]
        sequences = [sequence for sequence in sequences if not sequence.idle]
        if not sequences:
            return done
        logits_BV = self._forward(sequences, *self._padded(sequences))
        for sequence in sequences:
            sequence.length += len(sequence.feed)
            sequence.feed = []
        return done + self._draw(sequences, logits_BV)

    def _padded(self, sequences: list[_Sequence]) -> tuple[torch.Tensor, torch.Tensor]:
        """What waits to be fed, padded on the right, and the place of each last token."""
        longest = max(len(sequence.feed) for sequence in sequences)
        ids_BT = torch.full((len(sequences), longest), self.chat.stop_id)
        for place, sequence in enumerate(sequences):
            ids_BT[place, : len(sequence.feed)] = torch.tensor(sequence.feed)
        return ids_BT, torch.tensor([len(sequence.feed) - 1 for sequence in sequences])

    def _tick(self, sequences: list[_Sequence]) -> list[tuple[int, Completion]]:
        """Feed one token to every decoding row and draw the next.

        The forward pass covers all rows up to the last one that is decoding, so that the cache is
        read in place; others among them write a token that their own next feed overwrites.
        """
        rows = self._used[: 1 + max(sequence.row for sequence in sequences)]
        stop = self.chat.stop_id
        ids = [row.feed[0] if len(row.feed) == 1 and not row.idle else stop for row in rows]
        last_B = torch.zeros(len(rows), dtype=torch.long)
        logits_BV = self._forward(rows, torch.tensor(ids)[:, None], last_B)
        for sequence in sequences:
            sequence.length += 1
            sequence.feed = []
        return self._draw(sequences, logits_BV[[sequence.row for sequence in sequences]])

    def _forward(
        self, sequences: list[_Sequence], ids_BT: torch.Tensor, last_B: torch.Tensor
    ) -> torch.Tensor:
        """Run the model on new tokens of these; return the logits at each one's last token."""
        starts_B, bases_B, rows_B = torch.tensor(
            [(sequence.length, sequence.base, sequence.row) for sequence in sequences]
        ).unbind(dim=1)
        positions_BT = starts_B[:, None] + torch.arange(ids_BT.shape[1])
        positions_BT = positions_BT.clamp(max=self.context - 1)
        columns_BT = positions_BT - bases_B[:, None]
        columns = self._cache.reserve(int(columns_BT.max()) + 1)
        mask_BTC = torch.arange(columns) <= columns_BT[:, :, None]
        together = torch.equal(rows_B, torch.arange(len(rows_B)))  # what is read is one piece then
        rows = slice(0, len(rows_B)) if together else rows_B.to(self.model.device)
        cache, more = self._cache.at(rows, columns_BT.to(self.model.device), columns), {}
        if self._prompts is not None:
            shared = self._prompts.shared([sequence.slot for sequence in sequences])
            seen_BTP = shared.seen_BP().cpu()[:, None].expand(-1, ids_BT.shape[1], -1)
            mask_BTC, more = torch.cat([seen_BTP, mask_BTC], dim=2), {"shared": shared}
        return self._through(ids_BT, positions_BT, mask_BTC, last_B, cache, **more)

    def _through(
        self,
        ids_BT: torch.Tensor,
        positions_BT: torch.Tensor,
        mask_BTC: torch.Tensor,
        last_B: torch.Tensor,
        cache: Rows,
        **more: Shared,
    ) -> torch.Tensor:
        device = self.model.device
        hidden_BTD = self.model.get_decoder()(
            input_ids=ids_BT.to(device),
            attention_mask=additive(mask_BTC.to(device), self.model.dtype)[:, None],
            position_ids=positions_BT.to(device),
            past_key_values=cache,
            use_cache=True,
            **more,
        ).last_hidden_state
        hidden_BD = hidden_BTD[torch.arange(len(last_B)), last_B]
        logits: torch.Tensor = self.model.get_output_embeddings()(hidden_BD)
        return logits

    def _attention(self) -> AbstractContextManager[None]:
        return nullcontext() if self._prompts is None else one_token_a_row(self.model)

    def _draw(
        self, sequences: list[_Sequence], logits_BV: torch.Tensor
    ) -> list[tuple[int, Completion]]:
        temperature = self.sampling.temperature
        logprobs_BV = torch.log_softmax(logits_BV.float() / (temperature or 1.0), dim=-1)
        if temperature == 0:
            ids_B = logprobs_BV.argmax(dim=-1)
        else:
            drawn = [sequence.uniforms[len(sequence.token_ids)] for sequence in sequences]
            ids_B = inverse_cdf(logprobs_BV, torch.tensor(drawn, device=logprobs_BV.device))
        chosen_B = logprobs_BV.gather(1, ids_B[:, None])[:, 0].tolist()
        done = []
        for sequence, token, logprob in zip(sequences, ids_B.tolist(), chosen_B, strict=True):
            sequence.token_ids.append(token)
            sequence.logprobs.append(logprob)
            sequence.feed = [token]
            stopped = token in self._stops
            if stopped or self._exhausted(sequence):
                done.append((sequence.handle, self._complete(sequence, stopped=stopped)))
        return done

    def _overflows(self, sequence: _Sequence) -> bool:
        return sequence.length + len(sequence.feed) >= self.context

    def _exhausted(self, sequence: _Sequence) -> bool:
        full = len(sequence.token_ids) >= self.sampling.max_new_tokens
        return full or self._overflows(sequence)

    def _complete(self, sequence: _Sequence, *, stopped: bool) -> Completion:
        sequence.idle = True
        sequence.turns += 1
        ids = tuple(sequence.token_ids)
        return Completion(ids, tuple(sequence.logprobs), self.chat.text(ids), stopped, self.version)


class TransformersSampler:
    """`Sampler` that samples the model itself, or a copy of its weights in another dtype.

    The copy is brought up to date for every policy. Sampling a model of fp32 in bf16 is faster
    where the hardware multiplies in bf16; the log-probabilities are those of the copy, so they
    differ from the model's by its rounding.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        chat: Chat,
        rows: int,
        context: int,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._model, self._chat, self._rows, self._context = model, chat, rows, context
        self._sampled = model if dtype in (None, model.dtype) else deepcopy(model).eval()
        self._dtype = dtype
        self._policies = 0

    def policy(self, sampling: Sampling) -> TransformersPolicy:
        """The model with its weights as they are now."""
        self._model.eval()
        if self._sampled is not self._model:
            pairs = zip(self._sampled.parameters(), self._model.parameters(), strict=True)
            for copy, weight in pairs:  # parameters alone: rotary frequencies stay in fp32
                copy.data = weight.detach().to(self._dtype)
        made = TransformersPolicy(
            self._sampled, self._chat, sampling, rows=self._rows, context=self._context
        )
        made.version, self._policies = self._policies, self._policies + 1
        return made

    def close(self) -> None:
        """Nothing is held that is not freed with it."""

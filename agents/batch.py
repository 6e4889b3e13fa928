"""The one place where credit meets tokens.

Shape suffixes: B rows (attempts), T tokens. Row b of every array belongs to one attempt; position
t holds token t of its sequence and what is known of that token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from agents.credit.base import Credit
from agents.types import Group, Trajectory


@dataclass(frozen=True)
class TrackTensors:
    """One track of credit on tokens; 0 where the track or the loss mask is off."""

    advantages_BT: Tensor
    mask_BT: Tensor
    weight: float


@dataclass(frozen=True)
class Batch:
    """Padded token rows. `mask_BT` is 1 exactly on sampled tokens; padding is on the right.

    behaviour_BT holds the sampler's log-probabilities, 0 elsewhere; turn_BT numbers the turns of
    each row from 0 and is -1 off the mask; group_B numbers the groups. Where the mismatch of
    sampler and trainer is corrected, proximal_BT holds the trainer's log-probabilities before the
    update and weights_BT the weights (`agents.losses.Correction`).
    """

    token_ids_BT: Tensor
    mask_BT: Tensor
    behaviour_BT: Tensor
    turn_BT: Tensor
    group_B: Tensor
    tracks: tuple[TrackTensors, ...] = ()
    proximal_BT: Tensor | None = None
    weights_BT: Tensor | None = None

    @property
    def lengths_B(self) -> Tensor:
        """Tokens up to the last sampled one."""
        places_T = torch.arange(1, self.mask_BT.shape[1] + 1)
        return (self.mask_BT * places_T).amax(dim=1).long()

    def rows(self, index: Sequence[int]) -> Batch:
        """Some rows, cut to the longest of them."""
        picked = torch.tensor(list(index))
        width = max(1, int(self.lengths_B[picked].max()))

        def cut(values_BT: Tensor) -> Tensor:
            return values_BT[picked, :width]

        tracks = tuple(
            TrackTensors(cut(track.advantages_BT), cut(track.mask_BT), track.weight)
            for track in self.tracks
        )
        return Batch(
            cut(self.token_ids_BT),
            cut(self.mask_BT),
            cut(self.behaviour_BT),
            cut(self.turn_BT),
            self.group_B[picked],
            tracks,
            None if self.proximal_BT is None else cut(self.proximal_BT),
            None if self.weights_BT is None else cut(self.weights_BT),
        )

    @property
    def prompts_B(self) -> Tensor:
        """Tokens before the first sampled one; 0 where nothing was sampled."""
        return self.mask_BT.argmax(dim=1)

    def micro_batches(self, token_budget: int, *, packed: bool = False) -> list[list[int]]:
        """Row numbers of parts with at most `token_budget` tokens each.

        Padding counts, so rows of similar length go together. With `packed` it does not, a group's
        prompt counts once in a part, and its rows stay together where they fit into one. A row
        longer than the budget is a part of its own.
        """
        pieces = self._groups(token_budget) if packed else self._padded(token_budget)
        return _first_fit(pieces, token_budget)

    def _padded(self, budget: int) -> list[Piece]:
        """Rows of similar length."""
        lengths = self.lengths_B.tolist()
        parts: list[list[int]] = []
        for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
            if parts and (len(parts[-1]) + 1) * lengths[parts[-1][0]] <= budget:
                parts[-1].append(row)
            else:
                parts.append([row])
        return [(budget, part) for part in parts]

    def _groups(self, budget: int) -> list[Piece]:
        """Rows of a group, with the tokens of their prompt counted once."""
        lengths, prompts = self.lengths_B.tolist(), self.prompts_B.tolist()
        groups: dict[int, list[int]] = {}
        for row, number in enumerate(self.group_B.tolist()):
            groups.setdefault(number, []).append(row)
        pieces: list[Piece] = []
        for rows in groups.values():
            prompt = tokens = max(prompts[row] for row in rows)
            part: list[int] = []
            for row in rows:
                rest = lengths[row] - prompts[row]
                if part and tokens + rest > budget:
                    pieces.append((tokens, part))
                    tokens, part = prompt, []
                tokens += rest
                part.append(row)
            pieces.append((tokens, part))
        return pieces


Piece = tuple[int, list[int]]
"""tokens of rows that stay together, and the numbers of the rows"""


def _first_fit(pieces: Sequence[Piece], budget: int) -> list[list[int]]:
    """Put pieces, the largest first, each into the first part that has room."""
    room: list[int] = []
    parts: list[list[int]] = []
    for tokens, rows in sorted(pieces, key=lambda piece: -piece[0]):
        place = next((p for p, left in enumerate(room) if tokens <= left), len(parts))
        if place == len(parts):
            room.append(budget)
            parts.append([])
        room[place] -= tokens
        parts[place] += rows
    return parts


def assemble(
    groups: Sequence[Group], credits: Sequence[Credit], *, by_token: bool = False
) -> Batch:
    """Lay the attempts of all groups out as rows, each token with its step's credit.

    With `by_token` credit has a number per sampled token in place of one per step.

    Raises ValueError when credit and attempts do not have the same shape, or groups differ in
    their number of tracks.
    """
    attempts = [attempt for group in groups for attempt in group.attempts]
    batch = token_rows(attempts)
    counts = {len(credit) for credit in credits}
    if len(counts) > 1:
        raise ValueError(f"expected the same number of tracks in every group, got {counts}")
    tracks = tuple(
        _track(batch, groups, credits, track, by_token) for track in range(counts.pop())
    )
    numbers = [place for place, group in enumerate(groups) for _ in group.attempts]
    return replace(batch, group_B=torch.tensor(numbers), tracks=tracks)


def token_rows(attempts: Sequence[Trajectory]) -> Batch:
    """Lay attempts out as rows, without credit: prompt, turn, observation, turn, ...

    Each row is a group of its own.
    """
    rows = [_row(attempt) for attempt in attempts]
    width = max(len(row[0]) for row in rows)
    ids_BT = torch.zeros(len(rows), width, dtype=torch.long)
    mask_BT = torch.zeros(len(rows), width)
    behaviour_BT = torch.zeros(len(rows), width)
    turn_BT = torch.full((len(rows), width), -1, dtype=torch.long)
    for place, (ids, logprobs, turns) in enumerate(rows):
        turn_BT[place, : len(ids)] = torch.tensor(turns)
        ids_BT[place, : len(ids)] = torch.tensor(ids)
        behaviour_BT[place, : len(ids)] = torch.tensor(logprobs)
    mask_BT[turn_BT >= 0] = 1.0
    return Batch(ids_BT, mask_BT, behaviour_BT, turn_BT, torch.arange(len(rows)))


def _row(attempt: Trajectory) -> tuple[list[int], list[float], list[int]]:
    ids: list[int] = []
    logprobs: list[float] = []
    turns: list[int] = []
    for turn, step in enumerate(attempt.steps):
        context, sampled = step.context_ids, step.completion
        ids += [*context, *sampled.token_ids]
        logprobs += [0.0] * len(context) + list(sampled.logprobs)
        turns += [-1] * len(context) + [turn] * len(sampled.token_ids)
    return ids, logprobs, turns


def _track(
    batch: Batch, groups: Sequence[Group], credits: Sequence[Credit], number: int, by_token: bool
) -> TrackTensors:
    advantages_BT = torch.zeros_like(batch.mask_BT)
    mask_BT = torch.zeros_like(batch.mask_BT)
    for row, (advantages_S, use_S) in enumerate(_step_credit(groups, credits, number, by_token)):
        sampled_T = batch.turn_BT[row] >= 0
        place_T = torch.arange(len(use_S)) if by_token else batch.turn_BT[row, sampled_T]
        mask_BT[row, sampled_T] = use_S[place_T]
        advantages_BT[row, sampled_T] = torch.where(use_S > 0, advantages_S, 0.0)[place_T]
    weights = {credit[number].weight for credit in credits}
    if len(weights) != 1:
        raise ValueError(f"track {number}: expected one weight, got {sorted(weights)}")
    return TrackTensors(advantages_BT, mask_BT, weights.pop())


def _step_credit(
    groups: Sequence[Group], credits: Sequence[Credit], number: int, by_token: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Advantages and mask of the steps (or tokens) of each attempt, in the order of the rows."""
    unit = "tokens" if by_token else "steps"
    for group, credit in zip(groups, credits, strict=True):
        track = credit[number]
        masks_GS = track.mask_GS or [np.ones(len(steps)) for steps in track.advantages_GS]
        wanted = [int(row.sum()) if by_token else row.size for row in group.tokens_GS]
        for what, ragged in (("advantages", track.advantages_GS), ("mask", masks_GS)):
            if [len(values_S) for values_S in ragged] != wanted:
                raise ValueError(
                    f"{group.task_id}: the attempts have {wanted} {unit}, the {what} of track "
                    f"{number} {[len(values_S) for values_S in ragged]}"
                )
        for advantages_S, mask_S in zip(track.advantages_GS, masks_GS, strict=True):
            yield (
                torch.as_tensor(advantages_S, dtype=torch.float32),
                torch.as_tensor(mask_S, dtype=torch.float32),
            )

"""vLLM as a rollout policy: an engine in this process that takes the weights of the learner.

The engine batches continuously, so no turn waits for another. Its prefix cache holds the tokens
of an episode from one turn to the next, and the prompt of a group once, in blocks of 32 tokens:
what is computed again is at most one block a turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from agents.chat import Chat
from agents.likelihood import token_logprobs
from agents.policies.base import (
    SamplerError,
    Sampling,
    check_group,
    check_prompt,
    end_tokens,
)
from agents.policies.vllm_engine import Engine
from agents.types import Completion

_PROBES, _PROBE = 8, 3
"""Texts that are sampled after every update of the weights, to see that it took place, and the
tokens of each. Side by side, as a step of the engine takes some 4 ms however few its texts are."""

_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
"""nats by which the mean log-probability of those tokens may differ from the learner's"""


class VllmSampler:
    """`Sampler` with an engine of its own for the model, which may be trained meanwhile.

    rows     episodes in flight; the engine has keys and values for so many of `context` tokens
    dtype    of the engine's copy of the weights; None: the model's

    Making a policy hands the weights over in place and then compares the log-probabilities of a
    few sampled tokens with the model's own: `SamplerError` where they differ, as they did when
    the head of a model with tied embeddings kept its old weights.
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
        self._dtype = dtype or model.dtype
        self._engine = Engine(model, rows, context, self._dtype)
        self._policies = 0

    def policy(self, sampling: Sampling) -> VllmPolicy:
        """The model with its weights as they are now; what an earlier policy asked for is dropped.

        Raises `SamplerError` when the engine does not sample from these weights.
        """
        self._model.eval()
        self._engine.load(self._model)
        self._check()
        made = VllmPolicy(
            self._engine, self._model, self._chat, sampling, self._rows, self._context
        )
        made.version, self._policies = self._policies, self._policies + 1
        return made

    def close(self) -> None:
        """Stop the engine."""
        self._engine.close()

    def _check(self) -> None:
        count, stop = min(_PROBE, self._context - 1), self._chat.stop_id
        sampled = self._engine.sample_now([stop], _PROBES, count)
        row_BT = torch.tensor([[stop, *ids] for ids, _ in sampled])
        mask_BT = torch.ones_like(row_BT, dtype=torch.float32)
        mask_BT[:, 0] = 0.0
        with torch.no_grad():
            logprobs_BT, _ = token_logprobs(self._model, row_BT, mask_BT)
        behaviour_BT = torch.tensor([logprobs for _, logprobs in sampled])
        gap = float((logprobs_BT[:, 1:].cpu() - behaviour_BT).abs().mean())
        if not gap <= _TOLERANCE[self._dtype]:
            raise SamplerError(
                f"vLLM does not sample from the weights it was given: log-probabilities differ by "
                f"{gap:.3g} nats in the mean, expected at most {_TOLERANCE[self._dtype]}"
            )


@dataclass
class _Sequence:
    """One episode: its tokens so far, and the number of turns that were asked for."""

    seed: int
    token_ids: list[int]
    turns: int = 0


class VllmPolicy:
    """`Policy` over an engine of vLLM, with the meaning of `TransformersPolicy`.

    Draws: on a CPU those of `TransformersPolicy`; elsewhere every turn is a request with a seed
    made of (sequence seed, turn). So the schedule does not change them, up to ties that the
    numerics of another batch decide otherwise.
    """

    def __init__(
        self,
        engine: Engine,
        model: PreTrainedModel,
        chat: Chat,
        sampling: Sampling,
        rows: int,
        context: int,
    ) -> None:
        self._engine, self.chat, self.sampling = engine, chat, sampling
        self.rows, self.context = rows, context
        self.version = 0
        self._stops = sorted({chat.stop_id, *end_tokens(model)})
        self._sequences: dict[int, _Sequence] = {}
        self._full: list[int] = []  # turns without room for a token
        self._opened = 0

    def open(self, prompt_ids: Sequence[int], seeds: Sequence[int]) -> list[int]:
        """Begin one sequence per seed on one prompt. Raises ValueError for an over-long prompt."""
        check_prompt(prompt_ids, self.context)
        check_group(seeds, self.rows)
        handles = list(range(self._opened, self._opened + len(seeds)))
        self._opened += len(seeds)
        for handle, seed in zip(handles, seeds, strict=True):
            self._sequences[handle] = _Sequence(seed, list(prompt_ids))
            self._ask(handle)
        return handles

    def extend(self, handle: int, token_ids: Sequence[int]) -> None:
        """Append an observation and ask for the next turn."""
        self._sequences[handle].token_ids += token_ids
        self._ask(handle)

    def close(self, handle: int) -> None:
        """Forget a sequence."""
        del self._sequences[handle]

    def advance(self) -> list[tuple[int, Completion]]:
        """Let the engine work until at least one turn is complete."""
        done = [(handle, self._complete(handle, (), (), False)) for handle in self._full]
        self._full.clear()
        while not done and self._engine.busy:
            for handle, output in self._engine.step():
                ids = tuple(output.token_ids)
                logprobs = tuple(output.logprobs.logprobs)
                done.append((handle, self._complete(handle, ids, logprobs, ids[-1] in self._stops)))
        return done

    def _ask(self, handle: int) -> None:
        sequence = self._sequences[handle]
        room = self.context - len(sequence.token_ids)
        if room <= 0:
            self._full.append(handle)
            return
        self._engine.ask(
            handle,
            sequence.token_ids,
            (sequence.seed, sequence.turns),
            max_tokens=min(self.sampling.max_new_tokens, room),
            temperature=self.sampling.temperature,
            stop_token_ids=self._stops,
        )
        sequence.turns += 1

    def _complete(
        self, handle: int, ids: tuple[int, ...], logprobs: tuple[float, ...], stopped: bool
    ) -> Completion:
        self._sequences[handle].token_ids += ids
        return Completion(ids, logprobs, self.chat.text(ids), stopped, self.version)

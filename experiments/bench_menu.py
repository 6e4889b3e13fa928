"""Episodes per second of the menu tier: collecting alone, and whole training runs.

    python experiments/bench_menu.py --jobs 2

Every job is a process of its own that trains GRPO as `experiments/benchmark_credit.py` does, with
other seeds. Databases are made and opened before the clock starts. Half a minute on two cores.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, uninstalled

from experiments.credit_benchmark.menu_tier import Arena, MenuSettings, run, warm_network
from experiments.credit_benchmark.variants import Spec, Variant
from experiments.flags import option, parse

_BATCHES = 20  # of attempts that are collected without training


@dataclass(frozen=True)
class Config:
    """Time the menu tier."""

    jobs: int = option(os.cpu_count() or 1, "processes side by side")
    seeds: int = option(6, "training runs of every process")

    def __post_init__(self) -> None:
        if self.jobs < 1 or self.seeds < 1:
            raise ValueError("jobs and seeds must be at least 1")


def spec(seed: int) -> Spec:
    """A run of GRPO with the settings of the benchmark."""
    return Spec("menu", Variant("grpo", "grpo"), 1e-2, seed, MenuSettings().as_dict())


def collect(seed: int) -> int:
    """Collect batches with the policy of the warm start; return the number of episodes."""
    arena, settings = Arena(spec(seed)), MenuSettings()
    network = warm_network(arena)
    for batch in range(_BATCHES):
        arena.collector.collect(network, arena.draw_tasks(), settings.group_size, seed=batch)
    arena.collector.close()
    return _BATCHES * settings.tasks * settings.group_size


def train(seed: int) -> int:
    """A whole run; return its episodes: training and evaluations (the warm start is kept)."""
    settings = MenuSettings()
    curve = run(spec(seed))["curve"]["episodes"]
    evaluated = settings.eval_tasks * settings.eval_attempts * (len(curve) - 1 + 4)
    return int(curve[-1]) + evaluated


def _timed(work: Callable[[int], int], seeds: Sequence[int]) -> tuple[float, float]:
    """Episodes of this process per second on the wall, and per second of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    episodes = sum(map(work, seeds))
    return episodes / (time.perf_counter() - wall), episodes / (time.process_time() - cpu)


def _job(place: int, seeds: int) -> dict[str, tuple[float, float]]:
    mine = range(place * seeds, (place + 1) * seeds)
    for seed in mine:  # databases, menus and warm starts are there before the clock starts
        arena = Arena(spec(seed))
        warm_network(arena)
        arena.collector.close()
    return {"collect": _timed(collect, mine), "train": _timed(train, mine)}


def main() -> None:
    """Print episodes per second of all processes together, and per second of a processor."""
    config = parse(Config)
    with ProcessPoolExecutor(config.jobs, get_context("spawn")) as pool:
        found = list(pool.map(_job, range(config.jobs), [config.seeds] * config.jobs))
    for name in ("collect", "train"):
        wall = round(sum(job[name][0] for job in found))
        cpu = round(sum(job[name][1] for job in found) / config.jobs)
        print(json.dumps({"what": name, "jobs": config.jobs, "episodes per second": wall,
                          "episodes per processor second": cpu}))


if __name__ == "__main__":
    main()

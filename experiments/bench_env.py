"""How fast the environment is, beside skyrl-gym and plain SQLite, in one run.

    pip install -e '.[bench]'
    python -m experiments.bench_env

Prints tables in Markdown and writes the numbers to ``experiments/results/bench_env.json``.
Throughput: in every round each contestant plays the same scripts on the same database in turn;
ratios are taken within a round, and medians over the rounds are reported. Processor time is that
of all processes together. Then the cost of one tool call by the length of its result, the vector
environment beside one environment, and resident memory over many episodes. Linux; about ten
minutes on two quiet cores, most of them for the mixed scripts.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium as gym

from experiments import bench_contestants as contestants
from experiments.bench_contestants import Cost, Play, timed
from experiments.bench_shop import Script, build, build_long, episodes, pooled_episodes
from experiments.bench_sqlite import machine
from experiments.flags import option, parse

ROOT = Path(__file__).parents[1]
TURNS = 4
RAW, KEPT, SKYRL = "sqlite3", "sqlite3, gold kept", "skyrl-gym 0.4.0"
OURS, ONE, AGAIN = "Text2SQL-v0", "Text2SQL-v0, no copies", "Text2SQL-v0, once more"
Record = dict[str, Any]


@dataclass(frozen=True)
class Config:
    """Measure how fast the environment is beside skyrl-gym and plain SQLite."""

    pool_rounds: int = option(15, "rounds of light scripts over a pool of statements")
    pool_episodes: int = option(50, "scripts of one round that share a pool")
    light_rounds: int = option(15, "rounds of light scripts")
    light_episodes: int = option(100, "light scripts of one round")
    mixed_rounds: int = option(7, "rounds of light and medium scripts")
    mixed_episodes: int = option(20, "mixed scripts of one round")
    vector_rounds: int = option(5, "rounds of the vector environment")
    envs: int = option(32, "environments of the vector")
    long_rows: int = option(1_000_000, "rows of the longest result")
    calls: int = option(51, "tool calls timed per length of the result")
    soak_episodes: int = option(20_000, "light episodes over which memory is watched")
    seed: int = option(0, "of the database and the scripts")
    output: Path = option(ROOT / "experiments/results/bench_env.json", "where numbers go")


class Scripts:
    """Scripts without end; no statement of one call of `take` is one of an earlier call."""

    def __init__(self, seed: int) -> None:
        self._seen: set[str] = set()
        self._draws = random.Random(seed)

    def take(self, kind: str, count: int) -> list[Script]:
        """Return that many scripts of `kind`: "pool", or one of `FORMS` with new statements."""
        if kind == "pool":
            return list(pooled_episodes(count, TURNS, self._seen, self._draws))
        return list(episodes(kind, count, TURNS, self._seen, self._draws))


def main() -> None:
    """Measure, print and store."""
    config, load = parse(Config), os.getloadavg()
    scripts = Scripts(config.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = contestants.database_below(root)
        build(path, config.seed)
        build_long(root / "long.sqlite", config.long_rows)
        sizes = {
            "pool": (config.pool_rounds, config.pool_episodes),
            "light": (config.light_rounds, config.light_episodes),
            "mixed": (config.mixed_rounds, config.mixed_episodes),
        }
        record: Record = {
            "config": asdict(config) | {"output": config.output.name},
            "machine": machine() | {"date": str(date.today()), "cores": os.cpu_count()},
            "throughput": [
                row
                for kind, (rounds, count) in sizes.items()
                for row in throughput(root, kind, rounds, count, scripts)
            ],
            "long_results": list(long_results(root, config)),
            "vector": vector(path, config, scripts),
            "memory": list(memory(path, config, scripts)),
        }
    record["machine"]["load"] = {"before": load, "after": os.getloadavg()}
    print("\n\n".join(tables(record)))
    config.output.write_text(json.dumps(record, indent=1) + "\n")


def throughput(
    root: Path, kind: str, rounds: int, count: int, scripts: Scripts
) -> Iterator[Record]:
    """Yield what each contestant took, per contestant, for `count` scripts of `kind` a round."""
    path = contestants.database_below(root)
    costs: dict[str, list[Cost]] = {}
    with ExitStack() as open_for_all:
        raw = open_for_all.enter_context(closing(contestants.raw_connection(path)))
        skyrl = contestants.skyrl_gym_play(root)
        for way in (OWN, ONE_DATABASE):  # what is opened for the first round stays open
            env = contestants.own_environment(path, scripts.take("light", 1), **way)
            open_for_all.enter_context(closing(env)).reset()
        for _ in range(rounds):
            batch = scripts.take(kind, count)
            with ExitStack() as open_for_round:
                plays: dict[str, Play] = {
                    RAW: partial(contestants.play_raw, raw, gold=True),
                    KEPT: partial(contestants.play_raw, raw, gold=False),
                    **own_plays(path, batch, open_for_round),
                    SKYRL: skyrl,
                }
                for name, play in plays.items():
                    costs.setdefault(name, []).append(timed(partial(play, batch)))
    for name, taken in costs.items():
        yield {"scripts": kind, "contestant": name, **summary(taken, costs, count)}


OWN: Record = {}
# under other limits a database has another memory of results, so that what was run is new here
UNSEEN: Record = {"limits": {"sql_characters": 20_001}}
ONE_DATABASE: Record = {"matcher": "strict_one_database", **UNSEEN}


def own_plays(path: Path, batch: Sequence[Script], stack: ExitStack) -> dict[str, Play]:
    """Return the ways to play with this package's environment: golds prepared, turns written."""
    envs, turns = [], [contestants.actions_of(script) for script in batch]
    for way in (OWN, ONE_DATABASE):
        env = stack.enter_context(closing(contestants.own_environment(path, batch, **way)))
        visit(env, len(batch))
        envs.append(env)
    own, one = (partial(contestants.play_own, env, turns=turns) for env in envs)
    return {OURS: own, AGAIN: own, ONE: one}


def visit(env: gym.Env[str, str], count: int) -> None:
    """Reset to every task once, which computes its gold result."""
    for number in range(count):
        env.reset(options={"task_id": str(number)})


def summary(taken: list[Cost], costs: dict[str, list[Cost]], count: int) -> Record:
    """Return medians over the rounds: rates, and ratios to others in the same round."""

    def ratio(other: str, clock: Callable[[Cost], float]) -> float:
        pairs = zip(taken, costs[other], strict=True)
        return round(median(clock(mine) / clock(theirs) for mine, theirs in pairs), 3)

    record: Record = {"wall_seconds": [round(cost.wall, 6) for cost in taken]}
    record["cpu_seconds"] = [round(cost.cpu, 6) for cost in taken]
    for name, clock in CLOCKS.items():
        seconds = median(map(clock, taken)) / count
        record[f"{name}_us_per_step"] = round(seconds / TURNS * 1e6, 1)
        record[f"{name}_episodes_per_second"] = round(1 / seconds, 1)
        record[f"{name}_time_of_sqlite3"] = ratio(RAW, clock)
        record[f"{name}_speed_of_skyrl"] = round(1 / ratio(SKYRL, clock), 2)
    return record


CLOCKS: dict[str, Callable[[Cost], float]] = {
    "wall": lambda cost: cost.wall,
    "cpu": lambda cost: cost.cpu,
}


def long_results(root: Path, config: Config) -> Iterator[Record]:
    """Yield the median milliseconds of one tool call by the length of its result.

    Each call is the first of an episode, as the results of an episode stay in memory to its end.
    """
    path = root / "long.sqlite"
    script = Script((), "SELECT count(*) FROM reading", "SELECT count(*) FROM reading")
    env = contestants.own_environment(path, [script])
    with closing(env), closing(contestants.raw_connection(path)) as raw:
        call = contestants.trial_of
        ways: dict[str, Callable[[str], Any]] = {
            "environment": lambda sql: env.step(call(sql)),
            "sqlite3, 11 rows": lambda sql: raw.execute(sql).fetchmany(11),
            "sqlite3, 1001 rows": lambda sql: raw.execute(sql).fetchmany(1001),
        }
        for rows in (1_000, 30_000, config.long_rows):
            times: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(config.calls):
                sql = f"SELECT * FROM reading WHERE id < {rows} AND value > {-number - 1}"
                env.reset()
                for way, run in ways.items():
                    times[way].append(timed(partial(run, sql)).wall * 1e3)
            yield {"rows": rows, **{way: round(median(ms), 3) for way, ms in times.items()}}


def vector(path: Path, config: Config, scripts: Scripts) -> Record:
    """Play mixed scripts with one environment, and with many of a vector side by side.

    Beside them, as the most that the cores give: plain SQLite in one process, and in one per core.
    Worker processes stay from round to round, as in training; the first round, in which they start
    and fill their caches, is not counted.
    """
    costs: dict[str, list[Cost]] = {}
    with ExitStack() as open_for_all:
        for way in (OWN, UNSEEN):
            env = contestants.own_environment(path, scripts.take("mixed", 1), **way)
            open_for_all.enter_context(closing(env)).reset()
        raw = open_for_all.enter_context(closing(contestants.raw_connection(path)))
        cores = len(os.sched_getaffinity(0))
        plays: dict[str, Play] = {
            "sqlite3_one": partial(contestants.play_raw, raw, gold=False),
            "sqlite3_beside": open_for_all.enter_context(contestants.raw_processes(path, cores)),
        }
        for number in range(1 + config.vector_rounds):
            batch = scripts.take("mixed", 4 * config.envs)
            taken = {name: timed(partial(play, batch)) for name, play in plays.items()}
            taken["one"] = one_by_one(path, batch)
            taken["vector"] = side_by_side(path, batch, config.envs)
            for name, cost in taken.items():
                costs.setdefault(name, []).extend([cost] if number else [])

    def speedup(one: str, many: str) -> float:
        pairs = zip(costs[one], costs[many], strict=True)
        return round(median(before.wall / after.wall for before, after in pairs), 2)

    return {
        "envs": config.envs,
        "speedup": speedup("one", "vector"),
        "sqlite3_speedup": speedup("sqlite3_one", "sqlite3_beside"),
        "cores_used": round(median(cost.cpu / cost.wall for cost in costs["vector"]), 2),
        "wall_seconds": {name: [round(c.wall, 4) for c in taken] for name, taken in costs.items()},
        "cpu_seconds": {name: [round(c.cpu, 4) for c in taken] for name, taken in costs.items()},
    }


def one_by_one(path: Path, batch: Sequence[Script]) -> Cost:
    """Play scripts with one environment."""
    with closing(contestants.own_environment(path, batch)) as env:
        visit(env, len(batch))
        return timed(partial(contestants.play_own, env, batch))


def side_by_side(path: Path, batch: Sequence[Script], count: int) -> Cost:
    """Play scripts with a vector of `count`."""
    with closing(contestants.own_environment(path, batch, **UNSEEN)) as env:
        visit(env, len(batch))
        with closing(contestants.own_vector(path, batch, count, **UNSEEN)) as envs:
            return timed(partial(contestants.play_vector, envs, batch))


def memory(path: Path, config: Config, scripts: Scripts) -> Iterator[Record]:
    """Yield the resident megabytes of this process after each tenth of the episodes.

    The tasks stay the same, as in training; the trial statements of each part are new. What tells
    them from earlier ones is forgotten after each part: it would grow, and is the benchmark's own.
    """
    part = max(1, config.soak_episodes // 10)
    tasks = scripts.take("light", part)
    with closing(contestants.own_environment(path, tasks)) as env:
        for number in range(10):
            others = Scripts(config.seed + 1 + number).take("light", part)
            pairs = zip(tasks, others, strict=True)
            batch = [replace(task, trials=other.trials) for task, other in pairs]
            contestants.play_own(env, batch)
            yield {"episodes": (number + 1) * part, "mb": round(contestants.resident_mb(), 1)}


def tables(record: Record) -> Iterator[str]:
    """Yield the results as Markdown."""
    for kind in dict.fromkeys(row["scripts"] for row in record["throughput"]):
        lines = [
            f"| {kind} | episodes/s | µs per step: wall | processor | of sqlite3: wall | processor"
            " | speed of skyrl-gym: wall | processor |",
            "|---" * 8 + "|",
        ]
        for row in (row for row in record["throughput"] if row["scripts"] == kind):
            cells = [row["contestant"], row["wall_episodes_per_second"]]
            for what in ("us_per_step", "time_of_sqlite3", "speed_of_skyrl"):
                cells += [row[f"wall_{what}"], row[f"cpu_{what}"]]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        yield "\n".join(lines)
    for part in ("long_results", "memory"):
        rows = record[part]
        head = "| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|"
        body = ("| " + " | ".join(map(str, row.values())) + " |" for row in rows)
        yield "\n".join([head, *body])
    yield "vector: " + json.dumps(record["vector"])
    yield "load: " + json.dumps(record["machine"]["load"])


if __name__ == "__main__":
    main()

"""What the guard around SQLite costs, and how late it stops what it has to stop.

    python -m experiments.bench_sqlite

Prints two tables in Markdown and writes the numbers to ``experiments/results/bench_sqlite.json``.
Overhead: each query runs in turn on a plain persistent read-only connection of `sqlite3`, behind
the guard in this process, in a worker process, and answered from memory; rounds are interleaved.
Lateness: every statement of ``tests/vectors/attacks.json`` runs once under a limit of 300 ms.
Takes about two minutes on two shared cores. Expect a few microseconds of overhead per query in
process, some tens in a worker, and a median lateness below 15 ms.
"""

from __future__ import annotations

import json
import platform
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from experiments.flags import option, parse
from text2sql_gym.backends.sqlite import SqliteBackend
from text2sql_gym.errors import ToolError
from text2sql_gym.types import Limits

ROOT = Path(__file__).parents[1]
CORPUS = json.loads((ROOT / "tests/vectors/attacks.json").read_text())

QUERIES = {
    "point lookup": "SELECT name FROM cust WHERE cust_id = 37",
    "aggregate of 400 rows": "SELECT segment, count(*) FROM cust GROUP BY segment",
    "join of 3 tables, grouped": (
        "SELECT c.country, p.category, sum(t.amount) FROM tx t JOIN cust c ON"
        " c.cust_id = t.cust_id JOIN prod p ON p.prod_id = t.prod_id GROUP BY 1, 2"
    ),
    "1000 rows of 3 columns": "SELECT tx_id, amount, note FROM tx LIMIT 1000",
}

Run = Callable[[], object]


@dataclass(frozen=True)
class Config:
    """Measure the guarded execution of SQL on SQLite."""

    rounds: int = option(200, "interleaved rounds of the overhead measurement")
    light_rows: int = option(3_000, "rows of the largest table for the overhead")
    attacked_rows: int = option(30_000, "rows of the largest table for the attacks")
    seconds: float = option(0.3, "limit of one attack")
    output: Path = option(ROOT / "experiments/results/bench_sqlite.json", "where numbers go")


def main() -> None:
    """Measure, print and store."""
    config = parse(Config)
    with tempfile.TemporaryDirectory() as folder:
        light, attacked = Path(folder, "light.sqlite"), Path(folder, "attacked.sqlite")
        build(light, config.light_rows)
        build(attacked, config.attacked_rows)
        overhead = measure_overhead(light, config.rounds)
        attacks = list(measure_attacks(attacked, config.seconds))
    print(overhead_table(overhead), attack_table(attacks, config.seconds), sep="\n\n")
    record = {
        "config": asdict(config) | {"output": config.output.name},
        "machine": machine(),
        "overhead": overhead,
        "lateness": lateness(attacks, config),
        "attacks": attacks,
    }
    config.output.write_text(json.dumps(record, indent=1) + "\n")


def build(path: Path, rows: int) -> None:
    """Write the database that queries and attacks are about."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for sql in CORPUS["database"]:
            connection.execute(sql, {"rows": rows} if ":rows" in sql else {})


def measure_overhead(path: Path, rounds: int) -> list[dict[str, Any]]:
    """Return the median and smallest microseconds of each query under each way to run it."""
    limits = Limits()
    backends = {
        "in process": SqliteBackend(path, limits, cached=False),
        "worker": SqliteBackend(path, limits, isolated=True, cached=False),
        "from memory": SqliteBackend(path, limits),
    }
    uri = f"{path.as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as raw:
        rows = []
        for name, sql in QUERIES.items():
            ways: dict[str, Run] = {"raw": partial(fetch, raw, sql)}
            for way, backend in backends.items():
                ways[way] = partial(backend.execute, sql, max_rows=1_000)
            times = interleaved(ways, rounds)
            rows += [{"query": name, "way": way, **summary(us)} for way, us in times.items()]
    for backend in backends.values():
        backend.close()
    return rows


def fetch(connection: sqlite3.Connection, sql: str) -> list[Any]:
    """Run a query without any guard."""
    return connection.execute(sql).fetchall()


def interleaved(ways: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Return microseconds per call, `rounds` times each, taken in turn."""
    calls = max(1, int(0.001 / timed(ways["raw"], 20)))
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            times[way].append(timed(run, calls) * 1e6)
    return times


def timed(run: Run, calls: int) -> float:
    """Return the seconds of one call, as the mean of several."""
    started = perf_counter()
    for _ in range(calls):
        run()
    return (perf_counter() - started) / calls


def summary(microseconds: list[float]) -> dict[str, float]:
    """Return what is reported of a list of times."""
    return {"median_us": round(median(microseconds), 1), "best_us": round(min(microseconds), 1)}


def measure_attacks(path: Path, seconds: float) -> Iterator[dict[str, Any]]:
    """Run each hostile statement once, without memory of earlier results."""
    backend = SqliteBackend(path, Limits(seconds=seconds), cached=False)
    backend.execute("SELECT trim('a')", max_rows=1)  # start the first worker
    for name, sql in statements():
        started, outcome, message = perf_counter(), "ok", ""
        try:
            backend.execute(sql, max_rows=1_000)
        except ToolError as error:
            outcome, message = error.outcome.value, str(error)
        took = round((perf_counter() - started) * 1e3, 1)
        yield {"attack": name, "outcome": outcome, "ms": took, "message": message}
    backend.close()


def statements() -> Iterator[tuple[str, str]]:
    """Yield name and text of every statement, long ones built from their recipe."""
    for group in CORPUS["statements"].values():
        yield from group.items()
    for group in CORPUS["generated"].values():
        for name, (before, opening, middle, closing_text, after, count) in group.items():
            yield name, before + opening * count + middle + closing_text * count + after


def lateness(attacks: list[dict[str, Any]], config: Config) -> dict[str, float]:
    """Return how many milliseconds after the limit stopped statements were answered."""
    late = sorted(a["ms"] - 1e3 * config.seconds for a in attacks if a["outcome"] == "timeout")
    picks = {"median": late[len(late) // 2], "p90": late[int(len(late) * 0.9)], "max": late[-1]}
    return {"stopped": len(late)} | {name: round(value, 1) for name, value in picks.items()}


def overhead_table(rows: list[dict[str, Any]]) -> str:
    """Return medians in microseconds and, in brackets, best times, as a Markdown table."""
    ways = list(dict.fromkeys(row["way"] for row in rows))
    lines = ["| query | " + " | ".join(ways) + " |", "|---" * (len(ways) + 1) + "|"]
    for query in QUERIES:
        cells = [f"{r['median_us']} ({r['best_us']})" for r in rows if r["query"] == query]
        lines.append(f"| {query} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def attack_table(attacks: list[dict[str, Any]], seconds: float) -> str:
    """Return outcome and milliseconds of each attack as a Markdown table."""
    lines = [f"| attack, limit {seconds * 1e3:.0f} ms | outcome | ms | message |"]
    lines.append("|---|---|---|---|")
    for attack in attacks:
        message = attack["message"].replace("|", "\\|")
        lines.append(f"| {attack['attack']} | {attack['outcome']} | {attack['ms']} | {message} |")
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """Return what the numbers depend on besides the code."""
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    return {
        "revision": revision,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": platform.system(),
    }


if __name__ == "__main__":
    main()

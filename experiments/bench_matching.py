"""Time one comparison of a submission with a prepared gold result, per matcher and size.

    python -m experiments.bench_matching

One core, under a minute. Prints microseconds of processor time per comparison, the smallest of
`repeats` runs. Executing the query is not included.
"""

from __future__ import annotations

import itertools
import random
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time

from experiments.flags import option, parse
from text2sql_gym.backends import open_backend
from text2sql_gym.backends.base import Backend
from text2sql_gym.matching import MATCHERS, Matcher
from text2sql_gym.types import Limits, Row, Table

PLAIN, SORTED = "SELECT id, name, kind, price FROM item", "ORDER BY kind"
NAMES = ("strict_one_database", "bird_ex", "spider_test_suite", "soft_f1")


@dataclass(frozen=True)
class Config:
    """Time one comparison of a submission with a prepared gold result."""

    repeats: int = option(5, "runs of which the fastest counts")
    seed: int = option(0, "of the shuffled rows")


def main() -> None:
    """Print one Markdown table."""
    config = parse(Config)
    print("| submission | rows | " + " | ".join(f"`{name}`" for name in NAMES) + " |")
    print("| --- | --- |" + " --- |" * len(NAMES))
    by_case = zip(*(list(_times(size, config)) for size in (10, 1_000, 10_000)), strict=True)
    for case, size, times in itertools.chain.from_iterable(by_case):
        print(f"| {case} | {size:,} | " + " | ".join(f"{time:,.1f}" for time in times) + " |")


def _times(size: int, config: Config) -> Iterator[tuple[str, int, list[float]]]:
    """Yield (case, rows, microseconds of each matcher) over a database of `size` rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "item.sqlite"
        _fill(path, size)
        with closing(open_backend(str(path), Limits())) as database:
            for case, sql, table in _cases(database, size, random.Random(config.seed)):
                yield (
                    case,
                    size,
                    [
                        _microseconds(MATCHERS[name](), sql, table, database, config.repeats)
                        for name in NAMES
                    ],
                )


def _fill(path: Path, size: int) -> None:
    rng = random.Random(0)
    rows = [(n, f"item {n}", f"kind {n % 7}", rng.uniform(0, 1e4)) for n in range(size)]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE item(id INTEGER, name TEXT, kind TEXT, price REAL)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO item VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")


def _cases(database: Backend, size: int, rng: random.Random) -> Iterator[tuple[str, str, Table]]:
    gold = database.execute(PLAIN, max_rows=size)
    by_kind = database.execute(f"{PLAIN} {SORTED}", max_rows=size)
    mixed = rng.sample(gold.rows, size)
    yield "the same rows", PLAIN, replace(gold, rows=tuple(list(gold.rows)))
    yield "rows in another order", PLAIN, replace(gold, rows=tuple(mixed))
    yield "sorted, ties in another order", f"{PLAIN} {SORTED}", _sorted_by_kind(by_kind, mixed)
    yield "columns permuted", PLAIN, _permuted(gold, mixed)
    yield "rounding noise", PLAIN, replace(gold, rows=tuple(_noisy(row) for row in mixed))
    yield "one cell wrong", PLAIN, replace(gold, rows=((*mixed[0][:3], -1.5), *mixed[1:]))
    yield "a row missing", PLAIN, replace(gold, rows=tuple(mixed[1:]))


def _sorted_by_kind(table: Table, rows: list[Row]) -> Table:
    return replace(table, rows=tuple(sorted(rows, key=lambda row: str(row[2]))))


def _permuted(table: Table, rows: list[Row]) -> Table:
    return replace(table, rows=tuple((row[3], row[1], row[0], row[2]) for row in rows))


def _noisy(row: Row) -> Row:
    price = row[3]
    assert isinstance(price, float)
    return (*row[:3], price * (1 + 1e-15))


def _microseconds(
    matcher: Matcher, gold_sql: str, table: Table, database: Backend, repeats: int
) -> float:
    limits = Limits()
    gold = matcher.prepare(gold_sql, database, limits)
    rounds = max(1, 3_000 // (len(table.rows) + 1))
    best = float("inf")
    for _ in range(repeats):
        start = process_time()
        for _ in range(rounds):
            matcher(PLAIN, table, gold, database, limits)
        best = min(best, (process_time() - start) / rounds)
    return best * 1e6


if __name__ == "__main__":
    main()

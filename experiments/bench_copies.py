"""Measure what `strict` gains and costs by judging on perturbed copies of the database.

    python -m experiments.bench_copies --data-dir <spider> --split dev

From every gold query, near misses and rewritten queries are made (see `sql_mutants`). Among those
that `strict` accepts on the one database, the script counts how many it still accepts with 1, 2,
... copies, and with a witness (a copy made for the gold query) beside two copies. Two cores, some
minutes for the dev split. A near miss that is still accepted need not be wrong: some mean the same
as the gold query.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from time import perf_counter

from experiments.flags import option, parse
from experiments.sql_mutants import DEBATABLE, RIGHT, WRONG, rewritten
from text2sql_gym.backends import open_backend
from text2sql_gym.backends.base import Backend
from text2sql_gym.datasets import load_tasks
from text2sql_gym.errors import GoldError, ToolError
from text2sql_gym.matching.base import Gold
from text2sql_gym.matching.companions import sqlite_file
from text2sql_gym.matching.strict import Strict
from text2sql_gym.matching.variants import variants_of
from text2sql_gym.types import Limits, Table, Task

Seconds = defaultdict[str, float]
"""Time by what it went into, and how often, under a name each."""

GROUPS = {"near miss": WRONG, "same meaning": RIGHT, "same on these data": DEBATABLE}


@dataclass(frozen=True)
class Config:
    """Measure what `strict` gains and costs by judging on perturbed copies of the database."""

    data_dir: Path = option(Path("spider"), "folder of the data set")
    dataset: str = option("spider", "name of the data set")
    split: str = option("dev", "split whose gold queries are rewritten")
    copies: int = option(4, "largest number of copies tried")
    every: int = option(1, "take every n-th task only")
    seed: int = option(0, "seed of the copies")


@dataclass(frozen=True)
class Submission:
    """A rewritten gold query that `strict` accepts on the one database."""

    group: str
    rewrite: str
    sql: str
    table: Table


def main() -> None:
    """Print what each number of copies accepts, and what making and using them takes."""
    config = parse(Config)
    tasks = load_tasks(config.dataset, config.data_dir, config.split)[:: config.every]
    accepted: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    seconds: Seconds = defaultdict(float)
    for url, group in groupby(sorted(tasks, key=lambda task: task.database), _database):
        with closing(open_backend(url, Limits())) as database:
            _make_copies(database, config, seconds)
            for task in group:
                _measure(task, database, config, accepted, seconds)
    _report(accepted, seconds, config)


def _database(task: Task) -> str:
    return task.database


def _make_copies(database: Backend, config: Config, seconds: Seconds) -> None:
    path = sqlite_file(database.url)
    start = perf_counter()
    if path is not None:
        variants_of(path, config.copies, config.seed)
    seconds["making"] += perf_counter() - start
    seconds["databases"] += 1


def _measure(
    task: Task,
    database: Backend,
    config: Config,
    accepted: defaultdict[tuple[str, str], Counter[str]],
    seconds: Seconds,
) -> None:
    """Count, for every submission, the matchers that accept it."""
    try:
        golds = _golds(task.gold_sql[0], database, config, seconds)
    except GoldError:
        return
    for submission in _submissions(next(iter(golds.values()))[1], database):
        counts = accepted[submission.group, submission.rewrite]
        for name, (matcher, gold) in golds.items():
            start = perf_counter()
            score = matcher(submission.sql, submission.table, gold, database, Limits())
            seconds[f"judging with {name}"] += perf_counter() - start
            counts[name] += score == 1.0
        seconds["submissions"] += 1


def _matchers(config: Config) -> dict[str, Strict]:
    """0, 1, ... copies without a witness; and two copies with one."""
    numbers = range(config.copies + 1)
    alone = {f"{n} copies": Strict(variants=n, seed=config.seed, witness="never") for n in numbers}
    return alone | {
        "2 copies, a witness for empty golds": Strict(seed=config.seed),
        "2 copies, a witness for all golds": Strict(seed=config.seed, witness="always"),
    }


def _golds(
    sql: str, database: Backend, config: Config, seconds: Seconds
) -> dict[str, tuple[Strict, Gold]]:
    """Prepare the gold query for every matcher; the first copies are the same files for all."""
    golds: dict[str, tuple[Strict, Gold]] = {}
    for name, matcher in _matchers(config).items():
        start = perf_counter()
        golds[name] = (matcher, matcher.prepare(sql, database, Limits()))
        seconds[f"preparing with {name}"] += perf_counter() - start
    seconds["golds"] += 1
    seconds["empty golds"] += not next(iter(golds.values()))[1].table.rows
    return golds


def _submissions(gold: Gold, database: Backend) -> Iterator[Submission]:
    matcher = Strict(variants=0, witness="never")
    for group, rewrite, sql in _rewritten(gold):
        try:
            table = database.execute(sql, max_rows=Limits().compared_rows)
        except ToolError:
            continue
        if matcher(sql, table, gold, database, Limits()) == 1.0:
            yield Submission(group, rewrite, sql, table)


def _rewritten(gold: Gold) -> Iterator[tuple[str, str, str]]:
    for group, rewrites in GROUPS.items():
        for name, sql in rewritten(gold.sql, rewrites):
            yield group, name, sql
    yield from _constant(gold)


def _constant(gold: Gold) -> Iterator[tuple[str, str, str]]:
    """The gold result as a constant, read off a table as if it came from there."""
    plain = all(isinstance(cell, int | str) for row in gold.table.rows for cell in row)
    if len(gold.table.rows) == 1 and plain and gold.table.reads:
        cells = ", ".join(
            "'" + cell.replace("'", "''") + "'" if isinstance(cell, str) else str(cell)
            for cell in gold.table.rows[0]
        )
        table = min(gold.table.reads)[0]
        yield "near miss", "constant", f'SELECT {cells} FROM "{table}" LIMIT 1'


def _report(
    accepted: dict[tuple[str, str], Counter[str]], seconds: Seconds, config: Config
) -> None:
    names = list(_matchers(config))
    print("| submission | rewrite | " + " | ".join(names) + " |")
    print("| --- | --- | " + "--- | " * len(names))
    for group in GROUPS:
        counts = {key: count for key, count in accepted.items() if key[0] == group}
        for (_, rewrite), count in sorted(counts.items()):
            print(f"| {group} | {rewrite} | " + " | ".join(str(count[n]) for n in names) + " |")
        total = sum(counts.values(), Counter())
        print(f"| **{group}** | all | " + " | ".join(f"**{total[n]}**" for n in names) + " |")
    print(f"\n{seconds['golds']:.0f} golds, {seconds['empty golds']:.0f} of them without rows")
    print(f"{seconds['making'] / seconds['databases']:.3f} s per database for all copies")
    for name in names:
        prepared = seconds[f"preparing with {name}"] / seconds["golds"] * 1e6
        judged = seconds[f"judging with {name}"] / seconds["submissions"] * 1e6
        print(f"{name}: {prepared:,.0f} us per gold, {judged:,.0f} us per accepted submission")


if __name__ == "__main__":
    main()

"""Time every credit estimator on 1,024 attempts of 10 steps (128 groups of 8).

    python experiments/bench_credit.py            # print the table
    python experiments/bench_credit.py --write    # and write docs/credit_speed.md

A few seconds on one core; the slowest estimator should stay under 20 ms.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agents.credit import ESTIMATORS, Estimator, GroupSignals, assign
from agents.credit.base import SIGNALS, Ragged

PAGE = Path(__file__).parent.parent / "docs" / "credit_speed.md"
GROUPS, ATTEMPTS, STEPS = 128, 8, 10

HEADER = """# What credit costs

Milliseconds to credit one batch of {attempts:,} attempts with {steps} steps each ({groups} groups
of {size}), median and fastest of {repeats} runs, without building the batch.

- command: `python experiments/bench_credit.py --write`
- hardware: {hardware}
- date: {date}
- numpy {numpy}, Python {python}

| estimator | median ms | fastest ms |
| --- | --- | --- |
"""


def batch(seed: int) -> list[GroupSignals]:
    """Draw groups with every signal that an estimator asks for."""
    random = np.random.default_rng(seed)

    def rows() -> Ragged:
        return tuple(random.random(STEPS) for _ in range(ATTEMPTS))

    return [
        GroupSignals(
            random.integers(0, 2, ATTEMPTS).astype(np.float64),
            rows(),
            tuple(tuple(random.choice(list("abcdefgh"), STEPS)) for _ in range(ATTEMPTS)),
            {name: rows() for name in SIGNALS},
            tuple(str(attempt // 2) for attempt in range(ATTEMPTS)),
        )
        for _ in range(GROUPS)
    ]


def milliseconds(
    estimator: Estimator, groups: Sequence[GroupSignals], repeats: int
) -> list[float]:
    """Time `repeats` runs over the batch."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        assign(estimator, groups)
        taken.append(1e3 * (time.perf_counter() - start))
    return taken


def table(repeats: int) -> list[tuple[str, float, float]]:
    """Return (name, median, fastest) per estimator."""
    groups = batch(seed=0)
    rows = []
    for name, build in ESTIMATORS.items():
        taken = milliseconds(build(), groups, repeats)
        rows.append((name, statistics.median(taken), min(taken)))
    return rows


def main() -> None:
    """Print the table, and write it with --write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--hardware", default=f"{platform.machine()}, one thread")
    parser.add_argument("--date", default=time.strftime("%Y-%m-%d"))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rows = table(options.repeats)
    text = HEADER.format(
        attempts=GROUPS * ATTEMPTS,
        steps=STEPS,
        groups=GROUPS,
        size=ATTEMPTS,
        repeats=options.repeats,
        hardware=options.hardware,
        date=options.date,
        numpy=np.__version__,
        python=platform.python_version(),
    ) + "".join(f"| {name} | {median:.2f} | {low:.2f} |\n" for name, median, low in rows)
    print(text)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

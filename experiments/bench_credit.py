"""Time every credit estimator on 1,024 attempts of 10 steps (128 groups of 8).

    python experiments/bench_credit.py                          # print the table
    python experiments/bench_credit.py --verl FOLDER --write    # write docs/credit_speed.md

FOLDER is an unpacked wheel of verl (``pip download --no-deps verl==0.9.1``, unzip), whose functions
are then timed on the same arrays. Seconds on one core; every estimator should stay under 20 ms.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from agents.credit import ESTIMATORS, GroupSignals, assign
from agents.credit.base import SIGNALS, FloatArray, Ragged
from experiments.credit_accuracy import total

PAGE = Path(__file__).parent.parent / "docs" / "credit_speed.md"
GROUPS, ATTEMPTS, STEPS = 128, 8, 10
BUDGET = 20.0
"""milliseconds that the slowest estimator may take"""

HEADER = """# What credit costs

Milliseconds to credit one batch of {attempts:,} attempts with {steps} steps each ({groups} groups
of {size}), median and fastest of {repeats} runs, without building the batch. The batch is credited
group by group.

{verdict}

Beside them stand verl's functions of the same algorithms ({verl}) on the same rewards and values,
as tensors with a column per step. **difference** is the largest one between verl's numbers and
ours; verl computes in 32 bits. Estimators without a number there have no counterpart in verl.

- command: `python experiments/bench_credit.py --verl FOLDER --write`
- hardware: {hardware}
- date: {date}
- numpy {numpy}, Python {python}, one thread

| estimator | median ms | fastest ms | verl, median ms | verl, fastest ms | difference |
| --- | --- | --- | --- | --- | --- |
"""


def batch(seed: int) -> list[GroupSignals]:
    """Draw groups with every signal that an estimator asks for."""
    random = np.random.default_rng(seed)

    def rows() -> Ragged:
        return tuple(random.random(STEPS) for _ in range(ATTEMPTS))

    def learned() -> dict[str, Ragged]:
        found = {name: rows() for name in SIGNALS}
        found["tokens"] = (np.ones(STEPS, dtype=np.float64),) * ATTEMPTS  # a column per step
        found["greedy"] = (np.full(STEPS, float(random.integers(2))),) * ATTEMPTS
        return found

    return [
        GroupSignals(
            random.integers(0, 2, ATTEMPTS).astype(np.float64),
            rows(),
            tuple(tuple(random.choice(list("abcdefgh"), STEPS)) for _ in range(ATTEMPTS)),
            learned(),
            tuple(str(attempt // 2) for attempt in range(ATTEMPTS)),
        )
        for _ in range(GROUPS)
    ]


def milliseconds(run: Callable[[], object], repeats: int) -> list[float]:
    """Time `repeats` runs."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        taken.append(1e3 * (time.perf_counter() - start))
    return taken


def table(repeats: int, folder: Path | None) -> list[tuple[str, list[float], list[float], float]]:
    """Return per estimator: name, our times, verl's times (empty without), largest difference."""
    groups = batch(seed=0)
    theirs: Mapping[str, Callable[[], object]] = {}
    if folder is not None:
        from experiments.bench_verl import verl_functions  # needs torch

        theirs = verl_functions(folder, groups)
    rows = []
    for name, build in ESTIMATORS.items():
        estimator = build()
        own = milliseconds(lambda: assign(estimator, groups), repeats)
        for key in [name, f"{name} (vectorized)"]:
            if key == name or key in theirs:
                other = milliseconds(theirs[key], repeats) if key in theirs else []
                apart = _apart(name, groups, theirs[key]()) if key in theirs else np.nan
                rows.append((key, own, other, apart))
    return rows


def _apart(name: str, groups: Sequence[GroupSignals], theirs: object) -> float:
    """The largest difference of two credits of the same steps."""
    credits = assign(ESTIMATORS[name](), groups)
    own_BS: FloatArray = np.concatenate([np.stack(total(credit)) for credit in credits])
    return float(np.abs(own_BS - np.asarray(theirs)).max())


def text_of(
    rows: Sequence[tuple[str, list[float], list[float], float]], options: argparse.Namespace
) -> str:
    """The page."""
    slowest = max(rows, key=lambda row: statistics.median(row[1]))
    middle = statistics.median(slowest[1])
    head = HEADER.format(
        attempts=GROUPS * ATTEMPTS,
        steps=STEPS,
        groups=GROUPS,
        size=ATTEMPTS,
        repeats=options.repeats,
        verdict=f"The slowest is `{slowest[0]}` with {middle:.1f} ms (median); the package's own "
                f"bound is {BUDGET:.0f} ms.",
        verl=options.version if options.verl else "not measured",
        hardware=options.hardware,
        date=options.date,
        numpy=np.__version__,
        python=platform.python_version(),
    )
    return head + "".join(map(_line, rows))


def _line(row: tuple[str, list[float], list[float], float]) -> str:
    name, own, other, apart = row
    cells = [name, *(f"{f(own):.2f}" for f in (statistics.median, min))]
    cells += [f"{f(other):.2f}" if other else "" for f in (statistics.median, min)]
    return f"| {' | '.join([*cells, f'{apart:.1e}' if other else ''])} |\n"


def main() -> None:
    """Print the table, and write it with --write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--verl", type=Path, help="an unpacked wheel of verl")
    parser.add_argument("--version", default="verl 0.9.1", help="what the wheel is")
    parser.add_argument("--hardware", default=f"{platform.machine()}, one thread")
    parser.add_argument("--date", default=time.strftime("%Y-%m-%d"))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    text = text_of(table(options.repeats, options.verl), options)
    print(text)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

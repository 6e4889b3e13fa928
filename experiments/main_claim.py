"""What step-level credit is worth with a small language model: the table in the README.

    python -m experiments.main_claim            # print it
    python -m experiments.main_claim --write    # put it into README.md

From the rows of ``experiments/results/benchmark_credit/lm/language_model.jsonl``, which
``experiments/benchmark_credit.py --tier lm --config experiments/configs/language_model.toml``
makes. Means over warm starts, of the runs that begin from each, with 95 % intervals of Student's t;
comparisons are paired by warm start, as runs that share one are not independent. Needs the extra
``bench``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from experiments.credit_benchmark.lm_tier import FULL
from experiments.credit_benchmark.page import read_rows
from experiments.record import write_atomically

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments/results/benchmark_credit/lm/language_model.jsonl"
BEGIN, END = "<!-- made by python -m experiments.main_claim --write -->", "<!-- end -->"

Row = Mapping[str, Any]
Numbers = npt.NDArray[np.float64]

MEASURES = {
    "ex": "execution match",
    "easy": "..., easy",
    "medium": "..., with a value to look up",
    "calls": "calls",
    "redundant_calls": "redundant calls",
    "error_calls": "calls in error",
}
"""The columns of a row's `before` and `final` that are shown; grades are parts of ex."""

LABELS = {"finestep": "FineStep", "grpo": "GRPO", "gigpo": "GiGPO"}
"""What variants are called; others have the names that they have in the rows."""


def measured(rows: Sequence[Row], when: str, name: str) -> Numbers:
    """One number per warm start: the mean of the runs that begin from it."""
    found: dict[int, list[float]] = {}
    for row in rows:
        value = row[when]["grades"].get(name, row[when].get(name))
        found.setdefault(int(row["seed"]) % FULL.starts, []).append(value)
    return np.array([np.mean(found[start]) for start in sorted(found)])


def with_interval(values: Numbers, sign: str = "") -> str:
    """The mean and its 95 % interval by Student's t; no interval for a single value."""
    mean = float(values.mean())
    if len(values) < 2:
        return f"{mean:{sign}.3f}"
    half = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
    return f"{mean:{sign}.3f} ({mean - half:{sign}.3f} to {mean + half:{sign}.3f})"


def table(rows: Sequence[Row]) -> str:
    """The warm starts and all variants; then what the main claims come to."""
    names = dict.fromkeys(row["variant"] for row in rows)
    runs = {name: [row for row in rows if row["variant"] == name] for name in names}
    heads = [
        f"{LABELS.get(name, name)} (rate {found[0]['rate']:g}, {len(found)} runs)"
        for name, found in runs.items()
    ]
    lines = [f"| | warm start | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    for name, label in MEASURES.items():
        cells = [with_interval(measured(runs["finestep"], "before", name))]
        cells += [with_interval(measured(found, "final", name)) for found in runs.values()]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *claims(runs["finestep"], runs["grpo"])])


def claims(ours: Sequence[Row], theirs: Sequence[Row]) -> list[str]:
    """The comparisons, a line each."""
    gain = measured(ours, "final", "ex") - measured(ours, "before", "ex")
    ahead = measured(ours, "final", "ex") - measured(theirs, "final", "ex")
    mine, others = (measured(runs, "final", "redundant_calls") for runs in (ours, theirs))
    fewer = 1 - mine.mean() / others.mean() if others.mean() else float("nan")
    return [
        f"- Execution match of FineStep over its warm start: {with_interval(gain, '+')}.",
        f"- Execution match of FineStep minus that of GRPO: {with_interval(ahead, '+')}.",
        f"- Redundant calls: {fewer:.0%} fewer than GRPO's; difference "
        f"{with_interval(mine - others, '+')}.",
    ]


def replaced(page: str, content: str) -> str:
    """The page with what stands between the marks replaced. Raises ValueError without marks."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected the marks {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{content}\n\n{END}{tail}"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, or write it into the README."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="put it into README.md")
    content = table(read_rows(RESULTS))
    if parser.parse_args(argv).write:
        page = ROOT / "README.md"
        write_atomically(page, replaced(page.read_text(encoding="utf-8"), content))
    else:
        print(content)


if __name__ == "__main__":
    main()

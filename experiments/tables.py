"""Evaluations as Markdown tables, with bootstrap intervals over tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.evaluation import Evaluation, Numbers

BREAKDOWN = ("ex", "soft_f1", "r_ves")
"""Columns that a description also shows by difficulty and by number of tables, where they are
measured; a comparison shows "ex" so."""


@dataclass(frozen=True)
class Line:
    """One line of a table: its label and one number per task of it."""

    label: str
    values: Numbers


def lines(evaluation: Evaluation, by_group: Sequence[str] = ("ex",)) -> Iterator[Line]:
    """All columns, then those of `by_group` by difficulty and by number of tables."""
    for name in evaluation.columns:
        yield Line(label(name, evaluation.samples), evaluation.column(name))
    tables = [f"{count} table{'s' * (count > 1)}" if count else "" for count in evaluation.tables]
    for name in by_group:
        if name in evaluation.columns:
            yield from _parts(name, evaluation, evaluation.difficulties)
            yield from _parts(name, evaluation, tables)


def _parts(name: str, evaluation: Evaluation, groups: Sequence[str]) -> Iterator[Line]:
    """One line per group, without those that have no name."""
    for group in sorted({group for group in groups if group}):
        mask = np.array([other == group for other in groups])
        values = evaluation.column(name)[mask]
        yield Line(f"{label(name, 0)}, {group} ({mask.sum()})", values)


def label(name: str, samples: int) -> str:
    """What a column is called in a table."""
    names = {
        "pass_at_k": f"pass@{samples}",
        "majority_vote": f"majority vote of {samples}",
        "sampled_ex": "sampled ex",
        "r_ves": "R-VES",
        "soft_f1": "soft F1",
        "bird_ex": "BIRD's ex",
    }
    return names.get(name, name.replace("_", " "))


def compare(before: Evaluation, after: Evaluation) -> str:
    """A Markdown table: means before and after, and their difference with a 95 % interval.

    Intervals are percentile bootstraps over tasks (2,000 resamples from a fixed seed); the
    difference is paired, task by task. Raises ValueError for evaluations of different tasks.
    """
    if before.task_ids != after.task_ids:
        raise ValueError("expected two evaluations of the same tasks in the same order")
    rows = []
    for one, two in pairs(before, after):
        low, high = interval(two.values - one.values)
        rows.append(
            f"| {one.label} | {one.values.mean():.3f} | {two.values.mean():.3f} "
            f"| {(two.values - one.values).mean():+.3f} ({low:+.3f} to {high:+.3f}) |"
        )
    head = "| | before | after | difference (95 % interval) |\n|---|---|---|---|"
    return _table(before, head, rows)


def pairs(before: Evaluation, after: Evaluation) -> Iterator[tuple[Line, Line]]:
    """The lines that both evaluations have, in the order of the first."""
    others = {line.label: line for line in lines(after)}
    for line in lines(before):
        if line.label in others:
            yield line, others[line.label]


def describe(evaluation: Evaluation) -> str:
    """A Markdown table of the means, each with a 95 % interval (bootstrap over tasks)."""
    rows = []
    for line in lines(evaluation, BREAKDOWN):
        low, high = interval(line.values)
        rows.append(f"| {line.label} | {line.values.mean():.3f} | {low:.3f} to {high:.3f} |")
    return _table(evaluation, "| | mean | 95 % interval |\n|---|---|---|", rows)


def _table(evaluation: Evaluation, head: str, rows: Sequence[str]) -> str:
    if not evaluation.rows:
        return "no tasks were evaluated\n"
    said = f"{len(evaluation.rows)} tasks, one greedy attempt each"
    if evaluation.samples:
        said += f" and {evaluation.samples} sampled ones"
    if evaluation.too_long:
        said += f"; {evaluation.too_long} prompts did not fit the context and count as failures"
    return "\n".join([said, "", head, *rows]) + "\n"


def interval(values: Numbers, resamples: int = 2_000) -> tuple[float, float]:
    """A 95 % percentile bootstrap interval of the mean."""
    draws = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)

"""Evaluate a policy on tasks, and put two evaluations side by side with intervals."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from agents.metrics import attempt_metrics
from agents.rollout import Collector
from agents.warmstart import epochs
from experiments.run import Run, load_split, make_env

Numbers = npt.NDArray[np.float64]

COLUMNS = ("ex", "calls", "redundant_calls", "error_calls", "sampled_tokens", "submitted")


@dataclass(frozen=True)
class Report:
    """One greedy attempt per task: a row of numbers for each, and its difficulty.

    A task whose prompt does not fit the model's context counts as a failure without calls.
    """

    task_ids: tuple[str, ...]
    difficulties: tuple[str, ...]
    rows: tuple[dict[str, float], ...]
    too_long: int

    def as_json(self) -> str:
        """The inverse of `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read what `as_json` wrote."""
        found = json.loads(text)
        return cls(
            tuple(found["task_ids"]), tuple(found["difficulties"]), tuple(found["rows"]),
            found["too_long"],
        )

    def column(self, name: str) -> Numbers:
        """One number per task."""
        return np.array([row[name] for row in self.rows])


def evaluate(run: Run, desc: str) -> Report:
    """Answer the run's evaluation tasks greedily with its model as it is now."""
    tasks = load_split(run.config, 1)
    order = epochs(len(tasks), run.config.seed, 0)
    chosen = [tasks[next(order)] for _ in range(min(run.config.eval_tasks, len(tasks)))]
    with make_env(run.config, tasks) as env:
        room = run.config.context - run.config.max_new_tokens
        fits = [t.task_id for t in chosen if run.prompt_tokens(env, t.task_id) < room]
    collector = Collector(lambda: make_env(run.config, tasks), run.chat, rows=100)
    try:
        with tqdm(total=len(fits), desc=desc, unit="episode") as bar:
            groups = collector.collect(run.policy(0.0), fits, 1, 0, bar.update)
    finally:
        collector.close()
    found = {group.task_id: attempt_metrics(group.attempts[0]) for group in groups}
    nothing = dict.fromkeys(COLUMNS, 0.0)
    return Report(
        tuple(task.task_id for task in chosen),
        tuple(task.difficulty for task in chosen),
        tuple(found.get(task.task_id, nothing) for task in chosen),
        len(chosen) - len(fits),
    )


def compare(before: Report, after: Report) -> str:
    """A Markdown table: means before and after, and their difference with a 95 % interval.

    Intervals are percentile bootstraps over tasks (2,000 resamples from a fixed seed); the
    difference is paired, task by task.
    """
    if not before.rows:
        return "no tasks were evaluated\n"
    lines = [
        f"{len(before.rows)} tasks on unseen databases, one greedy attempt each"
        + (f"; {before.too_long} prompts did not fit the context" if before.too_long else ""),
        "",
        "| | before | after | difference (95 % interval) |",
        "|---|---|---|---|",
    ]
    for name in COLUMNS:
        one, two = before.column(name), after.column(name)
        low, high = interval(two - one)
        lines.append(
            f"| {name.replace('_', ' ')} | {one.mean():.3f} | {two.mean():.3f} "
            f"| {(two - one).mean():+.3f} ({low:+.3f} to {high:+.3f}) |"
        )
    for grade in sorted({grade for grade in before.difficulties if grade}):
        mask = np.array([difficulty == grade for difficulty in before.difficulties])
        one, two = before.column("ex")[mask], after.column("ex")[mask]
        low, high = interval(two - one)
        lines.append(
            f"| ex, {grade} ({mask.sum()}) | {one.mean():.3f} | {two.mean():.3f} "
            f"| {(two - one).mean():+.3f} ({low:+.3f} to {high:+.3f}) |"
        )
    return "\n".join(lines) + "\n"


def interval(values: Numbers, resamples: int = 2_000) -> tuple[float, float]:
    """A 95 % percentile bootstrap interval of the mean."""
    draws = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)

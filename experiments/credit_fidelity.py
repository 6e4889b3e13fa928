"""Compare the credit of every estimator with the true advantage of every step, on menus.

    python experiments/credit_fidelity.py            # measure, and write results and page
    python experiments/credit_fidelity.py --seeds 2  # fewer measurements
    python experiments/credit_fidelity.py --page     # write the page from stored results

A policy over menus is warm-started and held fixed. Since any state can be restored, the chance of
success before and after every step of its attempts is estimated by many rollouts, and the
difference is what the step was truly worth. Groups of different sizes are then drawn from the same
attempts, and every estimator says what it would have credited. A seed draws other tasks, another
policy, other attempts and rollouts. Five seeds take a minute of one idle core.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agents.credit import ESTIMATORS, Estimator, GroupSignals, assign
from agents.credit.base import FloatArray
from agents.learned import Fitting
from agents.learned.base import with_learned
from agents.learned.menu import MenuSignals, learnable
from agents.learned.tree import MenuTree
from agents.menu_rollout import MenuCollector
from agents.policies.menu import MenuNetwork
from agents.types import Group
from experiments.credit_accuracy import accuracy, correlation, rms, total
from experiments.fidelity_pool import (
    Pool,
    Settings,
    decisions_of,
    environments,
    kind_table,
    states_of,
    truth,
    warm_start,
)
from text2sql_gym.wrappers import ActionMenu

RESULTS = Path(__file__).resolve().parent / "results" / "credit_fidelity.json"


def main() -> None:
    """Measure and write, or write only."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="measurements, from seed 0 on")
    parser.add_argument("--page", action="store_true", help="only write the page")
    options = parser.parse_args()
    if not options.page:
        found = [plain(measure(Settings(seed=seed))) for seed in range(options.seeds)]
        RESULTS.write_text(json.dumps(merged(found)) + "\n", encoding="utf-8")
    from experiments.credit_fidelity_page import write_page

    write_page(json.loads(RESULTS.read_text(encoding="utf-8")))


def merged(found: Sequence[Any]) -> Any:
    """Measurements of the same form as one: numbers become lists over the measurements.

    The settings are those of the first. What one measurement lacks is None there.
    """
    first = next((value for value in found if value is not None), None)
    if not isinstance(first, Mapping):
        return first if isinstance(first, (str, list, tuple)) else list(found)
    keys = dict.fromkeys(key for value in found for key in value or {})
    return {
        key: first[key] if key == "settings" else merged([(v or {}).get(key) for v in found])
        for key in keys
    }


def plain(value: Any) -> Any:
    """The value with None for what is not a number, since JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and value != value else value


def measure(settings: Settings) -> dict[str, Any]:
    """Everything the page shows, as JSON values."""
    begun = time.process_time()
    tasks, make_env = environments(settings)
    collector = MenuCollector(make_env)
    network = warm_start(collector, tasks, settings)
    tree = MenuTree(make_env())
    pool = truth(collector, network, tree, tasks, settings)
    sources = signal_sources(collector, network, make_env, tasks, settings)
    rows = {
        name: judge(build(), pool, enrich, cost, settings)
        for name, (build, enrich, cost) in sources(pool).items()
    }
    seconds = time.process_time() - begun
    tree.close()
    collector.close()
    return {
        "settings": asdict(settings),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, one thread",
        "seconds": round(seconds, 1),
        "rollouts": settings.rollouts * len({s for g in pool.groups for s in states_of(g)}),
        "turns": tree.turns,
        "success": round(pool.success, 3),
        "kinds": kind_table(pool),
        "estimators": rows,
    }


def signal_sources(
    collector: MenuCollector,
    network: MenuNetwork,
    make_env: Callable[[], ActionMenu],
    tasks: Sequence[str],
    settings: Settings,
) -> Callable[[Pool], Mapping[str, Any]]:
    """For each competitor: its estimator, the pool with its signals, and what they cost."""
    lessons = [
        collector.collect(network, tasks, 8, settings.seed + 100 + n)
        for n in range(settings.lessons)
    ]

    def sources(pool: Pool) -> Mapping[str, Any]:
        given = [group.signals() for group in pool.groups]
        found: dict[str, Any] = {}
        for name, build in ESTIMATORS.items():
            if not learnable(build()):
                found[name] = (build, given, {})
                continue
            learned, cost = _taught(build(), network, make_env, lessons, pool)
            found[name] = (build, learned, cost)
            found[f"{name}, exact signals"] = (build, _exact(given, pool), {})
        return found

    return sources


def _taught(
    estimator: Estimator,
    network: MenuNetwork,
    make_env: Callable[[], ActionMenu],
    lessons: Sequence[Sequence[Group]],
    pool: Pool,
) -> tuple[list[GroupSignals], dict[str, float]]:
    """The pool with signals of models that have seen the lessons."""
    begun = time.process_time()
    signals = MenuSignals.for_estimator(
        estimator, network, make_env, Fitting(steps=100, learning_rate=3e-3)
    )
    for lesson in lessons:
        signals(lesson)
    taught = [group.signals() for group in signals(pool.groups)]
    cost = {"seconds": round(time.process_time() - begun, 2), **signals.cost}
    signals.close()
    return taught, cost


def _exact(given: Sequence[GroupSignals], pool: Pool) -> list[GroupSignals]:
    """The pool with signals as rollouts in great number give them."""
    found = []
    for group, before_GS, after_GS in zip(given, pool.before, pool.after, strict=True):
        pairs = zip(before_GS, after_GS, strict=True)
        progress_GS = tuple(after_S - before_S for before_S, after_S in pairs)
        for progress_S, before_S in zip(progress_GS, before_GS, strict=True):
            progress_S[0] += before_S[0]
        found.append(with_learned(group, {
            "values": before_GS,
            "progress": progress_GS,
            "step_score": after_GS,
            "prover_before": tuple(1 - (1 - before_S) ** 4 for before_S in before_GS),
            "prover_after": tuple(1 - (1 - after_S) ** 4 for after_S in after_GS),
        }))
    return found


def judge(
    estimator: Estimator,
    pool: Pool,
    signals: Sequence[GroupSignals],
    cost: Mapping[str, float],
    settings: Settings,
) -> dict[str, Any]:
    """Numbers of one estimator: by size of group, and by kind of step at a size of 8."""
    by_size = {size: drawn(estimator, pool, signals, size, settings) for size in settings.sizes}
    sample = by_size[8]
    return {
        "sizes": {str(size): by_size[size].numbers() for size in settings.sizes},
        "kinds": sample.by_kind(),
        "credit_ms": round(1e3 * sample.seconds / settings.draws / len(signals), 3),
        "cost": dict(cost),
    }


@dataclass(frozen=True)
class Drawn:
    """Steps of groups that were drawn: truth, credit, which decision and kind each is."""

    truth_N: FloatArray
    credit_N: FloatArray
    decisions: Sequence[tuple[str, str, int]]
    kinds: Sequence[str]
    seconds: float

    def numbers(self) -> dict[str, float]:
        """Correlation, sign, leak; bias and deviation in units of the chance of success.

        Credit is scaled by the slope of its best fit to the truth. The bias is that of the mean
        credit of a decision (same state, same action), the deviation is around that mean.
        """
        found = accuracy(self.truth_N, self.credit_N)
        square = float(self.truth_N @ self.truth_N)
        slope = float(self.credit_N @ self.truth_N) / square if square else 0.0
        _, number_N = np.unique(
            np.array(["|".join(map(str, d)) for d in self.decisions]), return_inverse=True
        )
        mean_D = np.bincount(number_N, self.credit_N) / np.bincount(number_N)
        mean_N = mean_D[number_N]
        fit = slope if slope > 1e-9 else np.nan
        return {
            "correlation": round(found.correlation, 3),
            "mean_correlation": round(correlation(self.truth_N, mean_N), 3),
            "sign": round(found.sign, 3),
            "bias": round(rms(mean_N / fit - self.truth_N), 3),
            "deviation": round(rms((self.credit_N - mean_N) / fit), 3),
        }

    def by_kind(self) -> dict[str, dict[str, float]]:
        """Mean credit relative to its root mean square, and share of right signs, by kind."""
        scale = float(rms(self.credit_N)) or 1.0
        kinds = np.array(self.kinds)
        rows = {}
        for kind in sorted(set(self.kinds)):
            at_N = kinds == kind
            found = accuracy(self.truth_N[at_N], self.credit_N[at_N])
            rows[kind] = {
                "credit": round(float(self.credit_N[at_N].mean() / scale), 3),
                "sign": round(found.sign, 3),
            }
        return rows


def drawn(
    estimator: Estimator,
    pool: Pool,
    signals: Sequence[GroupSignals],
    size: int,
    settings: Settings,
) -> Drawn:
    """Draw groups of a size from the attempts at every task, and credit them as one batch."""
    draws = np.random.default_rng(settings.seed + size)
    worth: list[FloatArray] = []
    credit: list[FloatArray] = []
    decisions: list[tuple[str, str, int]] = []
    kinds: list[str] = []
    seconds = 0.0
    for _ in range(settings.draws):
        picked = [draws.permutation(settings.attempts)[:size].tolist() for _ in pool.groups]
        batch = [part_of(group, index) for group, index in zip(signals, picked, strict=True)]
        begun = time.process_time()
        credits = assign(estimator, batch)
        seconds += time.process_time() - begun
        for place, (index, given) in enumerate(zip(picked, credits, strict=True)):
            for number, credit_S in zip(index, total(given), strict=True):
                credit.append(credit_S)
                worth.append(pool.after[place][number] - pool.before[place][number])
                kinds += pool.kinds[place][number]
                decisions += decisions_of(pool.groups[place], number)
    return Drawn(np.concatenate(worth), np.concatenate(credit), decisions, kinds, seconds)


def part_of(group: GroupSignals, index: Sequence[int]) -> GroupSignals:
    """Some attempts of a group as a group of their own."""
    return GroupSignals(
        group.outcome_G[index],
        tuple(group.process_GS[i] for i in index),
        tuple(group.states_GS[i] for i in index),
        {name: tuple(rows[i] for i in index) for name, rows in group.learned_GS.items()},
    )


if __name__ == "__main__":
    main()

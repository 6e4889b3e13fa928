"""Compare credit estimators: same warm start, tasks, seeds and number of episodes for all.

    python experiments/benchmark_credit.py                                    # every estimator
    python experiments/benchmark_credit.py --config experiments/configs/finestep.toml
    python experiments/benchmark_credit.py --estimators grpo,gigpo --seeds 3
    python experiments/benchmark_credit.py --quick                            # 3 minutes of CPU
    python experiments/benchmark_credit.py --tier lm --estimators finestep,grpo --seeds 5
    python experiments/benchmark_credit.py --page                             # from stored results

First every estimator's learning rate is chosen from `--rates` on seeds of their own, in the same
way for all; then every seed is run. A finished run is a file, so the command can be stopped and
repeated: it goes on where it was. Results go to experiments/results/benchmark_credit/ (JSONL),
tables and plots to docs/; those of --quick stay below the folder of runs. Needs the extra
``bench``, and ``sb3`` for the independent baselines. The full menu tier takes about 12 minutes of
one core; a run of the language-model tier takes as long as train_finestep.py without its warm
start, which is made once and shared.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run from a checkout, uninstalled

from experiments.credit_benchmark.tiers import TIERS
from experiments.credit_benchmark.variants import (
    BASELINES,
    Spec,
    Study,
    Variant,
    fitting,
    named,
    read_study,
)
from experiments.flags import option, parse
from text2sql_gym.registry import lookup

Row = dict[str, Any]
_SWEEP = 1_000  # the first seed of those that choose the learning rate


@dataclass(frozen=True)
class Config:
    """Compare credit estimators on the same tasks, seeds and episodes."""

    tier: str = option("menu", "menu (a small network) or lm (a small language model)")
    config: Path | None = option(None, "a study: TOML with variants, see experiments/configs/")
    estimators: str = option("", "names, comma-separated; default: all that the tier can run")
    seeds: int = option(10, "runs of every variant; a study may ask for another number")
    rates: str = option("1e-3,3e-3,1e-2,3e-2", "learning rates to choose from")
    sweep_seeds: int = option(1, "runs per rate that choose it")
    quick: bool = option(False, "3 seeds and one rate; lm: a shorter training too")
    jobs: int = option(os.cpu_count() or 1, "runs side by side")
    runs: Path = option(ROOT / "runs" / "benchmark_credit", "folder of finished runs")
    results: Path = option(
        ROOT / "experiments" / "results" / "benchmark_credit", "folder of the JSONL results"
    )
    docs: Path = option(ROOT / "docs", "folder of tables and plots")
    page: bool = option(False, "run nothing, write the tables and plots of all stored results")

    def __post_init__(self) -> None:
        lookup(TIERS, self.tier, "tier")
        if self.seeds < 1 or self.sweep_seeds < 1 or self.jobs < 1:
            raise ValueError("seeds, sweep_seeds and jobs must be at least 1")
        if self.config is not None and self.estimators:
            raise ValueError("expected config or estimators, got both")
        self.study()

    def study(self) -> Study:
        """What is compared."""
        if self.config is not None:
            return read_study(self.config)
        if self.estimators:
            return named("chosen", self.estimators.split(","))
        able = fitting(TIERS[self.tier].signals)
        return named("estimators", [*able, *(BASELINES if self.tier == "menu" else ())])


class Bench:
    """Runs specs that have no result yet, and remembers results."""

    def __init__(self, config: Config) -> None:
        self.config = config
        tier = TIERS[config.tier]
        self.settings = tier.quick if config.quick else tier.settings
        self.folder = config.runs / config.tier
        self.folder.mkdir(parents=True, exist_ok=True)
        self.known: dict[str, Row] = {}
        for file in sorted((config.results / config.tier).glob("*.jsonl")):
            lines = file.read_text(encoding="utf-8").splitlines()
            self.known |= {row["key"]: row for row in map(json.loads, lines)}

    def spec(self, variant: Variant, rate: float, seed: int) -> Spec:
        """One run."""
        return Spec(self.config.tier, variant, rate, seed, self.settings)

    def results(self, specs: Sequence[Spec], desc: str) -> list[Row]:
        """The results of these runs, under the names they have now; runs what is missing."""
        missing = {spec.key: spec for spec in specs if self._found(spec) is None}
        with tqdm(total=len(specs), initial=len(specs) - len(missing), desc=desc) as bar:
            for key in self._finished(list(missing.values())):
                self.known[key] = json.loads(self._file(key).read_text(encoding="utf-8"))
                bar.update()
        return [{**self.known[spec.key], "variant": spec.variant.name} for spec in specs]

    def _finished(self, specs: Sequence[Spec]) -> Iterable[str]:
        if self.config.jobs == 1 or len(specs) < 2:
            for spec in specs:
                yield run_and_write(spec, self._file(spec.key))
            return
        with ProcessPoolExecutor(self.config.jobs, get_context("spawn")) as pool:
            waiting = [pool.submit(run_and_write, s, self._file(s.key)) for s in specs]
            try:
                for done in as_completed(waiting):
                    yield done.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _found(self, spec: Spec) -> Row | None:
        file = self._file(spec.key)
        if spec.key not in self.known and file.exists():
            self.known[spec.key] = json.loads(file.read_text(encoding="utf-8"))
        return self.known.get(spec.key)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def run_and_write(spec: Spec, file: Path) -> str:
    """Run, and write the result whole or not at all; return its key."""
    row = TIERS[spec.tier].run(spec, file.parent)
    partial = file.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(row), encoding="utf-8")
    os.replace(partial, file)
    return spec.key


def choose_rates(
    bench: Bench, study: Study, rates: Sequence[float]
) -> tuple[dict[str, float], list[Row]]:
    """The rate of every estimator: the one with the largest area.

    It is swept with default options and the rewards of its first variant, and all variants of an
    estimator use it, so that no variant is tuned more than another.
    """
    estimators = list(dict.fromkeys(variant.estimator for variant in study.variants))
    if len(rates) == 1:
        return dict.fromkeys(estimators, rates[0]), []
    firsts = {variant.estimator: variant for variant in reversed(study.variants)}
    seeds = range(_SWEEP, _SWEEP + bench.config.sweep_seeds)
    specs = [
        bench.spec(Variant(name, name, rewards=firsts[name].rewards), rate, seed)
        for name in estimators for rate in rates for seed in seeds
    ]
    rows = bench.results(specs, "learning rates")
    return {name: _best(rows, name, rates) for name in estimators}, rows


def _best(rows: Sequence[Row], name: str, rates: Sequence[float]) -> float:
    def area(rate: float) -> float:
        fitting = [r["area"] for r in rows if r["estimator"] == name and r["rate"] == rate]
        return float(np.mean(fitting))

    return max(rates, key=area)


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A line of JSON per run, replaced whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    os.replace(partial, file)


def main(argv: Sequence[str] | None = None) -> None:
    """Choose rates, run, write results and pages."""
    config = parse(Config, argv)
    if config.quick:
        config = quick(config)
    study = config.study()
    if not config.page:
        run_study(config, study)
    from experiments.credit_benchmark.page import section, stored, write_page  # needs ``bench``

    write_page(config.docs, config.results)
    for found in stored(config.results):
        if config.page or (found.tier, found.name) == (config.tier, study.name):
            print(section(found))


def quick(config: Config) -> Config:
    """Three seeds and one rate; results and page stay below the folder of runs."""
    place = config.runs / "quick"
    small = replace(config, seeds=min(config.seeds, 3), rates="1e-2")
    return replace(small, results=place / "results", docs=place / "docs")


def run_study(config: Config, study: Study) -> None:
    """Run what has no result yet, and write the results of the study."""
    bench = Bench(config)
    rates, swept = choose_rates(bench, study, [float(rate) for rate in config.rates.split(",")])
    seeds = min(study.seeds or config.seeds, config.seeds)
    specs = [
        bench.spec(variant, rates[variant.estimator], seed)
        for variant in study.variants for seed in range(seeds)
    ]
    rows = bench.results(specs, study.name)
    write_rows(config.results / config.tier / f"{study.name}.jsonl", rows)
    if swept:
        write_rows(config.results / config.tier / f"{study.name}-rates.jsonl", swept)


if __name__ == "__main__":
    main()

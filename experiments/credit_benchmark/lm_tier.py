"""The language-model tier: runs of experiments/train_finestep.py from shared warm starts.

A run is that script in a process of its own, with `--warm-start` naming the run whose warm start it
begins from. Runs of one seed share theirs whatever their variant; it is made by the first that
needs it. Variants that credit proposed schemas share others, whose demonstrations propose some. A
run that was stopped is resumed.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock

from agents import checkpoint
from agents.learned.gold import PROPOSALS
from agents.metrics import MetricsFile
from experiments.config import Config
from experiments.credit_benchmark.variants import Spec
from experiments.evaluation import Evaluation
from experiments.run import WARM_START

SCRIPT = Path(__file__).resolve().parents[1] / "train_finestep.py"
MEASURES = ("ex", "calls", "redundant_calls", "error_calls")
_PROPOSE = 0.5  # share of demonstrations with a schema, where an estimator credits schemas
_PROVER = {"attempts": "rollouts", "best_of": "best_of"}


@dataclass(frozen=True)
class LmSettings:
    """Flags of the script, by their names in `experiments.config.Config`.

    `warm` are those of the warm start, `train` those that a run has besides. There are `starts`
    warm starts, each with a seed of its own; runs of seed s begin from number s modulo `starts`.
    """

    warm: Mapping[str, Any]
    train: Mapping[str, Any]
    starts: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"warm": dict(self.warm), "train": dict(self.train), "starts": self.starts}


FULL = LmSettings(
    {"threads": 1},
    {"threads": 1, "transcripts": 0, "eval_tasks": 400, "eval_samples": 0},
    starts=5,
)
QUICK = LmSettings(
    {"threads": 1, "databases": 200, "demonstrations": 1_500, "warm_steps": 500},
    {"threads": 1, "databases": 200, "transcripts": 0, "updates": 4, "tasks": 8,
     "eval_tasks": 40, "eval_samples": 0},
    starts=1,
)


def run(spec: Spec, folder: Path) -> dict[str, Any]:
    """Train and evaluate one variant under `folder`; return the result as JSON values.

    Raises ValueError for a variant that the script cannot train, and RuntimeError naming the log
    of a script that failed.
    """
    begin = time.perf_counter()
    flags = flags_of(spec)
    warm = warm_start(warm_flags(spec), folder)
    place = folder / f"run-{spec.key}"
    spent = _finish(place, {**flags, "warm_start": warm})
    rows = MetricsFile(place / "metrics.jsonl").read()
    updates = [row for row in rows if row["phase"] == "train"]
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))["config"]
    batch = config["tasks"] * config["group_size"]
    curve = {name: [round(row[name], 4) for row in updates] for name in MEASURES}
    episodes = [batch * update for update in range(len(updates))]  # what each was measured after
    area = np.trapezoid(curve["ex"], episodes) / max(1, episodes[-1])
    before, after = (
        Evaluation.from_json((place / f"evaluation-{when}.json").read_text(encoding="utf-8"))
        for when in ("before", "after")
    )
    return {
        "key": spec.key,
        "tier": spec.tier,
        "variant": spec.variant.name,
        "estimator": spec.variant.estimator,
        "rate": spec.rate,
        "seed": spec.seed,
        "curve": {"episodes": episodes, **curve},
        "before": _final(before),
        "final": _final(after),
        "area": round(float(area), 4),
        "extra_episodes": extra_episodes(spec, updates),
        "seconds": round(time.perf_counter() - begin, 2),
        "cpu_seconds": round(spent, 2),
    }


def flags_of(spec: Spec) -> dict[str, Any]:
    """The script's flags for a run; checked by building its `Config`."""
    variant = spec.variant
    options = {"estimator_options": ",".join(f"{k}={v}" for k, v in variant.options.items())}
    if not isinstance(variant.rewards, str):
        raise ValueError(f"{variant.name}: the lm tier has reward schemes by name only")
    what = {name: getattr(variant, name) for name in ("estimator", "rewards", "schema_mode")}
    prover = {_PROVER[name]: value for name, value in variant.prover.items()}
    flags = {**spec.settings["train"], **_proposing(spec), **options, **prover, **what}
    flags |= {"rate": spec.rate, "seed": spec.seed}
    Config(**flags)
    return flags


def warm_flags(spec: Spec) -> dict[str, Any]:
    """The script's flags for the warm start that a run begins from."""
    start = spec.seed % spec.settings["starts"]
    return {**spec.settings["warm"], **_proposing(spec), "seed": start}


def _proposing(spec: Spec) -> dict[str, float]:
    """The flag of runs in which schemas are proposed; their warm start is one of its own."""
    return {"propose": _PROPOSE} if PROPOSALS & set(spec.variant.needs) else {}


def warm_start(flags: Mapping[str, Any], folder: Path) -> Path:
    """The run whose warm start is shared, made now if there is none yet."""
    text = json.dumps(dict(flags), sort_keys=True)
    place = folder / f"warm-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_suffix(".lock")):  # the others wait for it, and find it made
        if checkpoint.latest(place / WARM_START) is None:
            _finish(place, {**flags, "updates": 0, "eval_tasks": 0})
    return place


def extra_episodes(spec: Spec, updates: Sequence[Mapping[str, Any]]) -> int:
    """Episodes besides those that are credited: greedy ones, and rollouts from the middle."""
    greedy = "greedy" in spec.variant.needs
    rolled = ("prover_rollouts", "label_rollouts")  # counted over the run so far
    return sum(int(row["groups_sampled"]) for row in updates if greedy) + sum(
        int(updates[-1].get(name, 0)) for name in rolled if updates
    )


def _finish(place: Path, flags: Mapping[str, Any]) -> float:
    """Run the script to its end, or go on with a run that was stopped.

    Returns the processor seconds of all processes that worked on the run, written down beside it
    as each ends; those of one that was killed together with its caller are lost.
    """
    unknown = set(flags) - {item.name for item in fields(Config)}
    if unknown:
        raise ValueError(f"train_finestep.py has no flag {', '.join(sorted(unknown))}")
    given = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    resumed = (place / "config.json").exists()
    arguments = [f"--resume={place}"] if resumed else [f"--output={place}", *given]
    log = place.with_suffix(".log")
    with log.open("ab") as output:
        command = [sys.executable, str(SCRIPT), *arguments]
        code, seconds = timed(command, output)
    with place.with_suffix(".cpu").open("a", encoding="utf-8") as file:
        file.write(f"{seconds}\n")
    if code:
        raise RuntimeError(f"train_finestep.py ended with {code}; see {log}")
    return sum(map(float, place.with_suffix(".cpu").read_text(encoding="utf-8").split()))


def timed(command: Sequence[str], output: IO[bytes]) -> tuple[int, float]:
    """Run a command to its end; return its exit code and the processor seconds it took.

    Its own children count once it has waited for them. This process must wait for no other child
    meanwhile.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.returncode, seconds


def _final(evaluation: Evaluation) -> dict[str, Any]:
    means = {name: round(float(evaluation.column(name).mean()), 4) for name in MEASURES}
    ex, grades = evaluation.column("ex"), np.array(evaluation.difficulties)
    by_grade = {str(g): round(float(ex[grades == g].mean()), 4) for g in sorted(set(grades))}
    return {**means, "grades": by_grade}

"""Evaluate a policy on a dataset: execution match, soft F1, R-VES, calls, pass@k, majority vote.

    python experiments/evaluate.py --policy runs/finestep   # a run's last weights, on its own tasks
    python experiments/evaluate.py --policy Qwen/Qwen3-4B --dataset bird --data-dir DIR/bird
    python experiments/evaluate.py --policy http://localhost:8000/v1 --model-name qwen3 ...
    python experiments/evaluate.py --policy script:analyst --split validation

The folder of an evaluation holds config.json, attempts.jsonl (every turn of every attempt),
results.json (a row of numbers per task), table.md, and prediction files: predict_dev.json for
BIRD's evaluator, predictions.sql for Spider's, gold.sql for both. The same command goes on where
a stopped one was.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, uninstalled

import experiments.before_torch  # noqa: F401

from tqdm import tqdm

from agents.policies.samplers import SAMPLERS
from agents.policies.scripted import SCRIPTS
from experiments.contestants import Setting, contestant, run_of
from experiments.evaluation import Evaluation, Plan, attempt, judge
from experiments.flags import option, parse
from experiments.players import ModelPlayer, TextPlayer
from experiments.predictions import WRITERS, gold_lines
from experiments.record import machine, revision, write_atomically
from experiments.tables import compare, describe
from experiments.tasks import evaluated
from experiments.transcripts import TranscriptFile
from text2sql_gym.datasets import DATASETS, load_tasks
from text2sql_gym.errors import Text2SQLError
from text2sql_gym.matching import MATCHERS
from text2sql_gym.protocols import PROTOCOLS
from text2sql_gym.registry import lookup
from text2sql_gym.types import Task

DEFAULT_SPLITS = {"synthetic": "validation", "own": "all"}
"""The split of a dataset that is evaluated unless told otherwise; "dev" for the others."""


@dataclass(frozen=True)
class Config:
    """Evaluate a policy on a dataset, and write predictions in the official formats."""

    policy: str = option(
        "script:analyst",
        "folder of a run or of a model, a hub id, the URL of an OpenAI-compatible endpoint, or "
        f"script: and one of {', '.join(SCRIPTS)}",
    )
    output: Path = option(Path("runs/evaluation"), "folder of the results")
    against: Path | None = option(None, "folder of another evaluation to compare this one with")

    dataset: str = option(
        "", "a name in DATASETS; default: the tasks that a run was evaluated on, else synthetic"
    )
    data_dir: Path | None = option(None, "folder of the dataset; not needed for synthetic")
    split: str = option("", "split of the dataset; default: validation, dev, or all of own")
    grades: str = option("", "difficulties, as in easy,medium; default: all")
    tasks: int = option(0, "the first so many tasks; 0: all")

    matcher: str = option("strict", "the rule that decides ex, a name in MATCHERS")
    scores: str = option("soft_f1", "further matchers, as in soft_f1,r_ves,bird_ex")
    samples: int = option(0, "attempts per task for pass@k and majority vote; 0: none")
    temperature: float = option(1.0, "temperature of these attempts")
    seed: int = option(0, "seed of these attempts")

    protocol: str = option(
        "finestep", "a name in PROTOCOLS; chat has native tools. A run speaks the one of its own"
    )
    max_turns: int = option(0, "turns of an episode; 0: as the run was trained, else 7")
    context: int = option(0, "tokens of an episode; 0: as the run was trained, else 4096 at most")
    max_new_tokens: int = option(0, "tokens of a turn; 0: as the run was trained, else 512")
    rows: int = option(32, "episodes in flight of a model in this process")
    sampler: str = option("transformers", "its engine: a name in SAMPLERS; vllm is an extra")
    device: str = option("", "cpu or cuda; default: cuda where there is one")
    model_name: str = option("", "endpoint: the name the server knows the model by")
    key_variable: str = option("OPENAI_API_KEY", "endpoint: environment variable with the key")
    workers: int = option(8, "endpoint and scripts: episodes at a time")

    def __post_init__(self) -> None:
        if self.dataset:
            lookup(DATASETS, self.dataset, "dataset")
        lookup(PROTOCOLS, self.protocol, "protocol")
        lookup(SAMPLERS, self.sampler, "sampler")
        if self.policy.startswith("script:") and self.protocol != "finestep":
            raise ValueError(f"protocol: a script speaks finestep, got {self.protocol!r}")
        for name in (self.matcher, *self.score_names):
            lookup(MATCHERS, name, "matcher")
        if self.tasks < 0 or self.workers < 1 or self.rows < max(1, self.samples):
            raise ValueError(
                "expected tasks >= 0, workers >= 1 and rows >= samples, got "
                f"{self.tasks}, {self.workers}, {self.rows} and {self.samples}"
            )
        self.plan  # refuses its numbers now

    @property
    def score_names(self) -> tuple[str, ...]:
        """The matchers that score beside `matcher`."""
        return tuple(filter(None, self.scores.split(",")))

    @property
    def plan(self) -> Plan:
        """How the tasks are attempted."""
        return Plan(self.samples, self.temperature, self.seed)

    @property
    def setting(self) -> Setting:
        """What the contestant is built from."""
        return Setting(
            self.policy, self.matcher, self.max_turns, self.context, self.max_new_tokens,
            self.rows, self.device, self.model_name, self.key_variable, self.workers,
            self.protocol, self.sampler,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = asdict(self).items()
        return {name: str(value) if isinstance(value, Path) else value for name, value in values}


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate, write the results and print the table."""
    config = parse(Config, argv)
    try:
        tasks = chosen(config)
        with closing(contestant(config.setting, tasks)) as player:
            begin(config)
            evaluation, queries = measured(config, tasks, player)
        table = write(config, tasks, evaluation, queries)
    except (Text2SQLError, OSError, ValueError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on")
        raise SystemExit(130) from None
    print(table)


def chosen(config: Config) -> tuple[Task, ...]:
    """The tasks to evaluate on. Raises `Text2SQLError` or ValueError when there are none."""
    dataset = config.dataset or "synthetic"
    split = config.split or DEFAULT_SPLITS.get(dataset, "dev")
    run = None if config.dataset or config.data_dir or config.split else run_of(config.policy)
    if run is None:
        origin, tasks = split, load_tasks(dataset, config.data_dir, split)
    else:
        origin, tasks = config.policy, evaluated(run)
        if not tasks:
            raise ValueError(f"{origin} was evaluated on no task; expected --dataset")
    grades = set(filter(None, config.grades.split(",")))
    kept = [task for task in tasks if not grades or task.difficulty in grades]
    if not kept:
        found = sorted({task.difficulty for task in tasks})
        raise ValueError(f"--grades: no task of {origin} is {config.grades}; there are {found}")
    return tuple(kept[: config.tasks or None])


def begin(config: Config) -> None:
    """Write the configuration, or see that it is the one whose evaluation goes on."""
    file, record = config.output / "config.json", config.as_dict()
    free = ("output", "against", "workers", "rows", "device", "scores")  # changes no attempt
    if file.exists():
        stored = json.loads(file.read_text(encoding="utf-8"))["config"]
        changed = [name for name in record if name not in free and stored[name] != record[name]]
        if changed:
            raise ValueError(
                f"{config.output} holds an evaluation with another {', '.join(changed)}; "
                "choose another --output, or remove it"
            )
    config.output.mkdir(parents=True, exist_ok=True)
    stated = {"config": record, "revision": revision(), "machine": machine()}
    write_atomically(file, json.dumps(stated, indent=1))


def measured(
    config: Config, tasks: Sequence[Task], player: ModelPlayer | TextPlayer
) -> tuple[Evaluation, list[str]]:
    """Attempt what is left to attempt, and judge everything."""
    file = TranscriptFile(config.output / "attempts.jsonl")
    bar = tqdm(total=config.plan.episodes(len(tasks)), desc="attempts", unit="episode")
    with closing(bar):
        records = attempt(tasks, player, config.plan, file, bar.update)
    queries = [record.greedy.sql if record.greedy else "" for record in records]
    return judge(tasks, records, player.limits, config.score_names), queries


def write(
    config: Config, tasks: Sequence[Task], evaluation: Evaluation, queries: Sequence[str]
) -> str:
    """Write all files of the folder; return the table."""
    table = describe(evaluation)
    if config.against is not None:
        other = Evaluation.from_json((config.against / "results.json").read_text(encoding="utf-8"))
        table += "\n" + compare(other, evaluation)
    files = {name: writer(tasks, queries) for name, writer in WRITERS.items()}
    files |= {"gold.sql": gold_lines(tasks), "results.json": evaluation.as_json()}
    for name, text in {**files, "table.md": table}.items():
        write_atomically(config.output / name, text)
    return table


if __name__ == "__main__":
    main()

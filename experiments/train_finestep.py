"""Train a text-to-SQL agent with FineStep: warm start, evaluate, train, evaluate again.

    python experiments/train_finestep.py                                        # embedded default
    python experiments/train_finestep.py --dataset spider --data-dir DIR/spider
    python experiments/train_finestep.py --model Qwen/Qwen3-4B --dataset bird --data-dir DIR/bird
    python experiments/train_finestep.py --resume runs/finestep

A run is a folder: config.json, metrics.jsonl, checkpoints/, transcripts/, evaluation-*.json,
table.md, report.html. Every random draw follows from (seed, phase, number), so a run that was
killed and resumed ends in the same weights. Ctrl-C saves first.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, uninstalled

import experiments.before_torch  # noqa: F401

import torch
from tqdm import tqdm

from agents.checkpoint import CheckpointError
from agents.metrics import rollout_metrics
from agents.policies.samplers import require
from agents.policies.scripted import Analyst
from agents.trainer import Trainer, TrainingError
from agents.types import Trajectory
from agents.warmstart import WarmStart
from experiments.alone import alone
from experiments.config import Config, defaults_for, read_config
from experiments.evaluation import Evaluation
from experiments.flags import parse
from experiments.interrupts import held_back
from experiments.measure import evaluate, record
from experiments.report import write_report
from experiments.run import Run
from experiments.tables import compare
from text2sql_gym.errors import Text2SQLError

FAULTS = (
    TrainingError, CheckpointError, Text2SQLError, FloatingPointError, OSError, MemoryError,
    ImportError,
    torch.OutOfMemoryError,
)
"""What may go wrong without being a bug: each ends the run with a message, not a traceback."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run every phase that is not done yet, then print the table."""
    config = read_config(parse(Config, argv, **defaults_for(argv)))
    try:
        require(config.sampler)  # now, not after the warm start
        with alone(config.output), closing(Run.open(config)) as run:
            print(json.dumps(config.as_dict(), indent=1))
            with held_back() as run.let_through:
                phases(run)
    except FAULTS as error:
        raise SystemExit(f"\n{type(error).__name__}: {error}{how_to_go_on(config)}") from error
    except KeyboardInterrupt:
        print(f"\nstopped{how_to_go_on(config)}")
        raise SystemExit(130) from None


def phases(run: Run) -> None:
    """Warm start, evaluate, train, evaluate again; what is done already is skipped."""
    try:
        warm_start(run)
        before = measure(run, "before")
        train(run)
        after = measure(run, "after")
    except KeyboardInterrupt:
        run.save()
        raise
    print(compare(before, after))
    run.write(run.folder / "table.md", compare(before, after))
    print(f"report: {write_report(run.folder)}")


def warm_start(run: Run) -> None:
    """Imitate the scripted analyst until its queries are often right, and its habits copied."""
    if run.phase != "warm_start":
        return
    imitation = run.config.imitation
    if run.done < imitation.steps:
        config = run.config
        analyst = Analyst(
            haste=config.haste, extra=config.extra, propose=config.propose,
            max_turns=config.max_turns,
        )
        demonstrations = run.demonstrations(analyst)
        learner = WarmStart(run.model, imitation, run.config.seed)
        run.begin(learner.optimizer)
        imitate(run, learner, demonstrations)
    run.finish("train")


def imitate(run: Run, learner: WarmStart, demonstrations: Sequence[Trajectory]) -> None:
    """The steps of the warm start that are left."""
    total = learner.imitation.steps
    bar = tqdm(total=total, initial=run.done, desc="warm start", unit="step")

    def on_step(step: int, loss: float) -> None:
        bar.set_postfix(loss=f"{loss:.3f}")
        bar.update()
        run.log({"step": step, "loss": loss}, every=10)
        run.advance(step + 1)
        run.let_through()

    with bar:
        learner.run(demonstrations, run.done, on_step)


def train(run: Run) -> None:
    """Sample groups, credit their steps, update; once per update, `updates` times."""
    if run.phase != "train":
        return
    config = run.config
    estimator = config.build_estimator()
    trainer = Trainer(
        run.model,
        estimator,
        config.objective,
        config.optimization,
        config.temperature,
        penalty=run.penalty(),
        overlong=config.overlong_rule,
        signals=run.signals(estimator),
        by_token=config.unit == "token",
    )
    run.begin(trainer)
    bar = tqdm(total=config.updates, initial=run.done, desc=config.estimator, unit="update")
    with bar:
        for update in range(run.done, config.updates):
            filled = run.collect(update)
            metrics = trainer.update(filled.batch) | rollout_metrics(filled.sampled) | run.times
            run.log({"update": update, "groups_sampled": len(filled.sampled), **metrics})
            record(run, update, filled.batch, trainer.credits)
            run.advance(update + 1)
            bar.set_postfix(ex=f"{metrics['ex']:.2f}", calls=f"{metrics['calls']:.2f}")
            bar.update()
            run.let_through()
    run.finish("done")


def measure(run: Run, name: str) -> Evaluation:
    """Evaluate on unseen databases, once: the numbers are kept in the run folder."""
    file = run.folder / f"evaluation-{name}.json"
    if not file.exists():
        run.write(file, evaluate(run, name).as_json())
    return Evaluation.from_json(file.read_text(encoding="utf-8"))


def how_to_go_on(config: Config) -> str:
    """What to tell the user of a run that ended early."""
    folder = config.output
    if not (folder / "config.json").exists():
        return ""
    return f"\nresume with: python {sys.argv[0]} --resume {folder}"


if __name__ == "__main__":
    main()

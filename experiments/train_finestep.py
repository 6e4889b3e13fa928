"""Train a text-to-SQL agent with FineStep: warm start, evaluate, train, evaluate again.

    python experiments/train_finestep.py                                        # embedded default
    python experiments/train_finestep.py --dataset spider --data-dir DIR/spider
    python experiments/train_finestep.py --resume runs/finestep

A run is a folder: config.json, metrics.jsonl, checkpoints/, evaluation-*.json. Every random draw
follows from (seed, phase, number), so a run that was killed and resumed ends in the same weights.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, uninstalled

from tqdm import tqdm

from agents.trainer import Trainer
from agents.warmstart import WarmStart
from experiments.config import Config, read_config
from experiments.evaluation import Report, compare, evaluate
from experiments.flags import parse
from experiments.run import Run


def main(argv: Sequence[str] | None = None) -> None:
    """Run every phase that is not done yet, then print the table."""
    config = read_config(parse(Config, argv))
    run = Run.open(config)
    print(json.dumps(config.as_dict(), indent=1))
    try:
        warm_start(run)
        before = measure(run, "before")
        train(run)
        after = measure(run, "after")
    except KeyboardInterrupt:
        run.save()
        print(f"\nstopped; resume with: python {sys.argv[0]} --resume {run.folder}")
        raise SystemExit(130) from None
    finally:
        run.close()
    print(compare(before, after))
    (run.folder / "table.md").write_text(compare(before, after), encoding="utf-8")


def warm_start(run: Run) -> None:
    """Imitate the scripted analyst until its queries are often right, and its habits copied."""
    if run.phase != "warm_start":
        return
    demonstrations = run.demonstrations()
    learner = WarmStart(run.model, run.config.imitation, run.config.seed)
    run.begin("warm_start", learner.optimizer)
    bar = tqdm(total=run.config.warm_steps, initial=run.done, desc="warm start", unit="step")

    def on_step(step: int, loss: float) -> None:
        bar.set_postfix(loss=f"{loss:.3f}")
        bar.update()
        run.log({"step": step, "loss": loss}, every=10)
        run.advance(step + 1)

    with bar:
        learner.run(demonstrations, run.done, on_step)
    run.finish("train")


def train(run: Run) -> None:
    """Sample groups, credit their steps, update; once per update, `updates` times."""
    if run.phase != "train":
        return
    config = run.config
    trainer = Trainer(
        run.model, config.build_estimator(), config.objective, config.optimization
    )
    run.begin("train", trainer.optimizer)
    trainer.steps = run.done * config.minibatches
    bar = tqdm(total=config.updates, initial=run.done, desc=config.estimator, unit="update")
    with bar:
        for update in range(run.done, config.updates):
            groups = run.collect(update)
            metrics = trainer.update(groups)
            bar.set_postfix(ex=f"{metrics['ex']:.2f}", calls=f"{metrics['calls']:.2f}")
            bar.update()
            run.log({"update": update, **metrics})
            run.advance(update + 1)
    run.finish("done")


def measure(run: Run, name: str) -> Report:
    """Evaluate on unseen databases, once: the report is kept in the run folder."""
    file = run.folder / f"evaluation-{name}.json"
    if not file.exists():
        run.write(file, evaluate(run, desc=f"evaluate {name}").as_json())
    return Report.from_json(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()

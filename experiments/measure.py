"""What a training run measures of itself: evaluations, and transcripts of some of its episodes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from tqdm import tqdm

from agents.credit import Credit
from agents.types import Group
from experiments.evaluation import Evaluation, Plan, attempt, judge
from experiments.players import ModelPlayer
from experiments.run import Run
from experiments.tasks import evaluated, load_split, make_env
from experiments.transcripts import GroupRecord, TranscriptFile

_KEPT_GROUPS = 3


def evaluate(run: Run, name: str) -> Evaluation:
    """Evaluate the run's model as it is now; what a kill left of it is taken up."""
    config = run.config
    tasks, chosen = load_split(config, 1), evaluated(config)
    plan = Plan(config.eval_samples, config.temperature, config.seed)
    player = ModelPlayer(
        lambda: make_env(config, tasks),
        run.chat,
        run.policy,
        room=config.context - config.max_new_tokens,
        rows=config.rows,
    )
    file = TranscriptFile(run.folder / "transcripts" / f"evaluation-{name}.jsonl")
    bar = tqdm(total=plan.episodes(len(chosen)), desc=f"evaluate {name}", unit="episode")

    def on_done() -> None:
        bar.update()
        run.let_through()

    with closing(player), closing(bar):
        records = attempt(chosen, player, plan, file, on_done)
    return judge(chosen, records, player.limits)


def record(run: Run, update: int, groups: Sequence[Group], credits: Sequence[Credit]) -> None:
    """Keep some groups of every n-th update in a file of its own: the first, and mixed ones.

    A group is mixed when some of its attempts are right and some are not.
    """
    every = run.config.transcripts
    if not every or (update % every and update + 1 != run.config.updates):
        return
    order = sorted(range(1, len(groups)), key=lambda place: not _mixed(groups[place]))
    kept = [(groups[place], credits[place]) for place in (0, *order)[:_KEPT_GROUPS]]
    tasks = {task.task_id: task for task in load_split(run.config, 0)}
    file = TranscriptFile(run.folder / "transcripts" / f"update-{update:05d}.jsonl")
    file.write(GroupRecord.of(tasks[g.task_id], g, credit=credit) for g, credit in kept)


def _mixed(group: Group) -> bool:
    return len({attempt.outcome == "match" for attempt in group.attempts}) == 2

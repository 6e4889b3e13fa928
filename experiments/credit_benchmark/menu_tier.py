"""The menu tier: one run of one variant, a small network on the menus of real databases."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.learned.menu import MenuSignals
from agents.losses import Objective
from agents.menu_rollout import MenuCollector
from agents.menu_trainer import MenuTrainer, imitate
from agents.metrics import attempt_metrics
from agents.policies.menu import Chooser, MenuAnalyst, MenuNetwork
from agents.trainer import Optimization
from agents.types import Trajectory
from experiments.credit_benchmark.variants import BASELINES, Spec
from text2sql_gym.backends import open_backend
from text2sql_gym.backends.base import Backend
from text2sql_gym.datasets import load_tasks
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.types import Task
from text2sql_gym.wrappers import ActionMenu

_LAST = 4  # times as many attempts in the last evaluation
ANALYST = MenuAnalyst(aim=0.25, know=0.15)
"""Who is imitated before reinforcement: wasteful, and rarely right."""

MEASURES = ("ex", "calls", "redundant_calls", "error_calls")


@dataclass(frozen=True)
class MenuSettings:
    """What all runs of a comparison share.

    The warm start of a seed is the same for all variants: `demonstrations` scripted episodes,
    imitated for `imitation_steps`. `eval_tasks` tasks of databases that were not trained on are
    answered every `evaluate_every` updates, by the policy as it is trained: sampled, not greedy,
    `eval_attempts` times each, and four times as often at the end.
    """

    databases: int = 24
    eval_databases: int = 8
    eval_tasks: int = 42
    eval_attempts: int = 1
    candidates: int = 8
    looks: int = 6
    peeks: int = 2
    proposals: int = 2
    max_turns: int = 7
    hidden: int = 64
    demonstrations: int = 256
    imitation_steps: int = 100
    tasks: int = 8
    group_size: int = 8
    updates: int = 12
    minibatches: int = 2
    evaluate_every: int = 2

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


class Arena:
    """Environments, tasks and the warm start of one run."""

    def __init__(self, spec: Spec) -> None:
        self.settings = settings = MenuSettings(**spec.settings)
        self.rewards, self.seed = spec.variant.rewards, spec.seed
        self.training = suitable_tasks("train", settings.databases, settings)
        unseen = suitable_tasks("validation", settings.eval_databases, settings)
        self.unseen = unseen[: settings.eval_tasks]
        self.collector = MenuCollector(self.make_env, schema_mode=spec.variant.schema_mode)
        self.draws = np.random.default_rng([spec.seed, 0])

    def make_env(self) -> ActionMenu:
        """One environment over the tasks of training and of evaluation."""
        return make_menu((*self.training, *self.unseen), self.settings, self.rewards)

    def make_training_env(self) -> ActionMenu:
        """One environment that draws tasks of training only."""
        return make_menu(self.training, self.settings, self.rewards)

    def demonstrations(self) -> list[Trajectory]:
        """What the warm start imitates; a function of the seed alone."""
        names = [task.task_id for task in self.training]
        draws = np.random.default_rng([self.seed, 1])
        picked = [names[i] for i in draws.integers(len(names), size=self.settings.demonstrations)]
        found = []
        for first in range(0, len(picked), 64):  # no more environments than the training needs
            part = picked[first : first + 64]
            network = MenuNetwork(self.settings.hidden, self.seed)
            found += self.collector.demonstrate(ANALYST, network, part, self.seed + first)
        return found

    def draw_tasks(self) -> list[str]:
        """Tasks of the next update."""
        picked = self.draws.integers(len(self.training), size=self.settings.tasks)
        return [self.training[i].task_id for i in picked]

    def evaluate(self, network: Chooser, *, last: bool) -> dict[str, Any]:
        """Means over attempts at every unseen task; "grades" has execution match by grade."""
        names = [task.task_id for task in self.unseen] * self.settings.eval_attempts
        rounds = range(_LAST if last else 1)
        groups = [g for r in rounds for g in self.collector.collect(network, names, 1, seed=r)]
        attempts = [attempt for group in groups for attempt in group.attempts]
        rows = [attempt_metrics(attempt) for attempt in attempts]
        grades: dict[str, list[float]] = {}
        for attempt, row in zip(attempts, rows, strict=True):
            grades.setdefault(attempt.difficulty, []).append(row["ex"])
        means = {name: round(float(np.mean([row[name] for row in rows])), 4) for name in MEASURES}
        by_grade = {grade: round(float(np.mean(ex)), 4) for grade, ex in sorted(grades.items())}
        return {**means, "grades": by_grade}


class Curve:
    """Evaluations over a run."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._rows: list[dict[str, Any]] = []
        self.episodes: list[int] = []

    def add(self, episodes: int, network: Chooser, *, last: bool = False) -> None:
        """Evaluate now, after that many episodes of training."""
        self.episodes.append(episodes)
        self._rows.append(self._arena.evaluate(network, last=last))

    def as_dict(self) -> dict[str, Any]:
        """Lists over evaluations, the last one's numbers, and the mean height of the curve."""
        lists = {name: [row[name] for row in self._rows] for name in MEASURES}
        ex = np.array(lists["ex"])
        area = np.trapezoid(ex, self.episodes) / max(1, self.episodes[-1])
        return {
            "curve": {"episodes": self.episodes, **lists},
            "final": self._rows[-1],
            "area": round(float(area), 4),
        }


def run(spec: Spec, folder: Path | None = None) -> dict[str, Any]:
    """Warm start, train, evaluate; return the result as JSON values. Nothing needs a folder."""
    torch.set_num_threads(1)
    begin, cpu = time.perf_counter(), time.process_time()
    arena = Arena(spec)
    with closing(arena.collector):
        if spec.variant.estimator in BASELINES:
            from experiments.sb3_baseline import train_baseline

            measured = train_baseline(spec, arena)
        else:
            measured = _train(spec, arena)
    return {
        "key": spec.key,
        "tier": spec.tier,
        "variant": spec.variant.name,
        "estimator": spec.variant.estimator,
        "rate": spec.rate,
        "seed": spec.seed,
        **measured,
        "seconds": round(time.perf_counter() - begin, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
    }


def _train(spec: Spec, arena: Arena) -> dict[str, Any]:
    settings, needs = arena.settings, spec.variant.needs
    network = warm_network(arena)
    optimization = Optimization(
        spec.rate, minibatches=settings.minibatches, token_budget=1_000_000
    )
    estimator = spec.variant.build()
    trainer = MenuTrainer(network, estimator, Objective(), optimization)
    signals = MenuSignals.for_estimator(
        estimator, network, arena.make_env, prover=spec.variant.prover
    )
    curve, extra = Curve(arena), 0
    curve.add(0, network)
    begin = time.process_time()
    for update in range(1, settings.updates + 1):
        groups = arena.collector.collect(
            network,
            arena.draw_tasks(),
            settings.group_size,
            seed=spec.seed * 1_000_003 + update,
            greedy="greedy" in needs,
            branches="trees" in needs,
        )
        extra += settings.tasks * ("greedy" in needs)
        trainer.update(signals(groups))
        last = update == settings.updates
        if update % settings.evaluate_every == 0 or last:
            curve.add(update * settings.tasks * settings.group_size, network, last=last)
    spent = time.process_time() - begin
    signals.close()
    rollouts = {f"rollout_{name}": count for name, count in signals.cost.items() if count}
    return {
        **curve.as_dict(),
        "extra_episodes": extra,
        **rollouts,
        "train_cpu_seconds": round(spent, 2),
    }


def warm_network(arena: Arena) -> MenuNetwork:
    """The network that every variant of a seed starts from."""
    key = (arena.seed, *sorted(arena.settings.as_dict().items()))
    network = MenuNetwork(arena.settings.hidden, arena.seed)
    if key not in _WARM:
        if len(_WARM) >= _KEPT:
            _WARM.clear()
        steps = arena.settings.imitation_steps
        imitate(network, arena.demonstrations(), steps=steps, seed=arena.seed)
        _WARM[key] = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(_WARM[key])
    return network


_KEPT = 32  # warm starts kept by one process
_WARM: dict[tuple[Any, ...], Mapping[str, torch.Tensor]] = {}


def make_menu(
    tasks: Sequence[Task], settings: MenuSettings, rewards: Any = "finestep"
) -> ActionMenu:
    """A menu environment as the benchmark uses it."""
    protocol = FineStep(style="compact", tools=("execute_sql", "submit", "propose_schema"))
    env = Text2SQLEnv(
        tasks=tasks, protocol=protocol, rewards=rewards, max_turns=settings.max_turns
    )
    names = ("candidates", "looks", "peeks", "proposals")
    return ActionMenu(env, **{name: getattr(settings, name) for name in names})


@lru_cache(maxsize=8)
def suitable_tasks(split: str, databases: int, settings: MenuSettings) -> tuple[Task, ...]:
    """The tasks of a split that have a menu; their databases stay open in this process."""
    tasks = load_tasks("synthetic", None, split, databases=databases)
    with make_menu(tasks, settings) as env:
        fitting = set(env.task_ids)
        for url in {task.database for task in tasks}:
            _OPEN.setdefault(url, open_backend(url, env.base.limits))
    return tuple(task for task in tasks if task.task_id in fitting)


_OPEN: dict[str, Backend] = {}
"""Held so that statements are answered from memory across runs."""

"""Attempts of a fixed policy over menus, and what each of their steps is truly worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from agents.credit.base import FloatArray, Ragged
from agents.learned.tree import MenuContinuations, MenuTree
from agents.menu_rollout import MenuCollector
from agents.menu_trainer import imitate
from agents.policies.menu import MenuAnalyst, MenuNetwork
from agents.types import Group, Step
from text2sql_gym.datasets import load_tasks
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.wrappers import ActionMenu
from text2sql_gym.wrappers.menu import Feature, Kind

State = tuple[str, tuple[int, ...]]
"""A task and the actions taken so far."""


@dataclass(frozen=True)
class Settings:
    """One measurement. `rollouts` from every state; `draws` batches of groups per size."""

    databases: int = 3
    tasks: int = 6
    max_turns: int = 6
    candidates: int = 4
    looks: int = 3
    peeks: int = 1
    proposals: int = 1
    demonstrations: int = 160
    imitation_steps: int = 100
    attempts: int = 32
    rollouts: int = 64
    sizes: tuple[int, ...] = (2, 4, 8, 16)
    draws: int = 12
    lessons: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Pool:
    """All attempts of the fixed policy, and the truth about their steps.

    before[g], after[g]   chance of success before and after each step of each attempt of task g
    kinds[g]              what kind of step it is, by `kind_of`
    """

    groups: Sequence[Group]
    before: Sequence[Ragged]
    after: Sequence[Ragged]
    kinds: Sequence[Sequence[Sequence[str]]]

    @property
    def success(self) -> float:
        """Share of the attempts that end right."""
        ends = [attempt.outcome for group in self.groups for attempt in group.attempts]
        return float(np.mean([end == "match" for end in ends]))


def environments(settings: Settings) -> tuple[list[str], Callable[[], ActionMenu]]:
    """Ids of the tasks, and what makes an environment over them."""
    tasks = load_tasks("synthetic", None, "train", databases=settings.databases)
    names = ("candidates", "looks", "peeks", "proposals")
    sizes = {name: getattr(settings, name) for name in names}

    def make() -> ActionMenu:
        protocol = FineStep(style="compact", tools=("execute_sql", "submit", "propose_schema"))
        env = Text2SQLEnv(tasks=tasks, protocol=protocol, max_turns=settings.max_turns)
        return ActionMenu(env, **sizes)

    with make() as env:
        fitting = env.task_ids
    picked = np.random.default_rng(settings.seed).permutation(len(fitting))[: settings.tasks]
    return [fitting[i] for i in picked], make


def warm_start(
    collector: MenuCollector, tasks: Sequence[str], settings: Settings
) -> MenuNetwork:
    """The policy whose steps are judged: it imitates a wasteful analyst."""
    network = MenuNetwork(seed=settings.seed)
    draws = np.random.default_rng(settings.seed)
    names = [tasks[i] for i in draws.integers(len(tasks), size=settings.demonstrations)]
    shown = collector.demonstrate(MenuAnalyst(know=0.5), network, names, settings.seed)
    imitate(network, shown, steps=settings.imitation_steps, seed=settings.seed)
    return network


def truth(
    collector: MenuCollector,
    network: MenuNetwork,
    tree: MenuTree,
    tasks: Sequence[str],
    settings: Settings,
) -> Pool:
    """Attempts at every task, and the chance of success around each of their steps."""
    groups = collector.collect(network, tasks, settings.attempts, settings.seed + 1, greedy=True)
    continuations = MenuContinuations(tree, network)
    before, after = [], []
    for place, group in enumerate(groups):
        states = list(dict.fromkeys(states_of(group)))
        counts = continuations.successes(states, settings.rollouts, settings.seed + place)
        chance = dict(zip(states, np.array(counts) / settings.rollouts, strict=True))
        rows = [[chance[s] for s in _before(group.task_id, a.steps)] for a in group.attempts]
        before.append(tuple(np.array(row) for row in rows))
        after.append(tuple(
            np.array([*row[1:], float(attempt.outcome == "match")])
            for row, attempt in zip(rows, group.attempts, strict=True)
        ))
    kinds = [
        [kinds_of(attempt.steps, after_S - before_S)
         for attempt, before_S, after_S in zip(group.attempts, *rows, strict=True)]
        for group, *rows in zip(groups, before, after, strict=True)
    ]
    return Pool(groups, before, after, kinds)


def kinds_of(steps: Sequence[Step], advantage_S: FloatArray) -> list[str]:
    """What each step of an attempt is, for "where does it go wrong"."""
    kinds: list[str] = []
    error = False
    for step, advantage in zip(steps, advantage_S, strict=True):
        features_AF = step.features_AF  # type: ignore[attr-defined]
        row = features_AF[step.completion.token_ids[0]]
        kinds.append(_kind(row, float(advantage), error))
        error = step.call_outcome not in ("ok", "truncated", "duplicate")
    return kinds


def _kind(row_F: FloatArray, advantage: float, error: bool) -> str:
    if row_F[Kind.SUBMIT]:
        return "final answer"
    if row_F[Kind.SLIP]:
        return "error"
    if row_F[Kind.REPEAT] or row_F[Feature.TAKEN]:
        return "redundant call"
    if error:
        return "call after an error"
    return "useful look" if advantage > 0.05 else "idle look"


def kind_table(pool: Pool) -> dict[str, dict[str, float]]:
    """How often each kind of step occurs, and what it is worth on average."""
    kinds = np.array([kind for task in pool.kinds for row in task for kind in row])
    worth_N = np.concatenate([
        after_S - before_S
        for rows in zip(pool.before, pool.after, strict=True)
        for before_S, after_S in zip(*rows, strict=True)
    ])
    return {
        str(kind): {
            "share": round(float((kinds == kind).mean()), 3),
            "worth": round(float(worth_N[kinds == kind].mean()), 3),
        }
        for kind in sorted(set(kinds))
    }


def _before(task_id: str, steps: Sequence[Step]) -> list[State]:
    actions = tuple(step.completion.token_ids[0] for step in steps)
    return [(task_id, actions[:place]) for place in range(len(actions))]


def states_of(group: Group) -> list[State]:
    """The state before every step of every attempt."""
    return [s for attempt in group.attempts for s in _before(group.task_id, attempt.steps)]


def decisions_of(group: Group, number: int) -> list[tuple[str, str, int]]:
    """Task, state and action of each step of an attempt: equal for the same decision."""
    steps = group.attempts[number].steps
    return [(group.task_id, step.state_key, step.completion.token_ids[0]) for step in steps]

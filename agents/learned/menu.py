"""Learned signals on menus: features of steps, and groups with the signals an estimator needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from agents.credit.base import Estimator
from agents.learned.base import Example, Fitting, StepFeatures
from agents.learned.prover import Prover
from agents.learned.signals import LEARNED, LearnedSignals, needs_of
from agents.learned.tree import MenuContinuations, MenuTree
from agents.menu_rollout import MenuStep
from agents.policies.menu import MenuNetwork
from agents.types import Group, Step, Trajectory
from text2sql_gym.types import CallOutcome
from text2sql_gym.wrappers.action_menu import ActionMenu
from text2sql_gym.wrappers.menu import FEATURES, Feature, Kind

Float32 = npt.NDArray[np.float32]

_OUTCOMES = tuple(CallOutcome)
_PROVER = {"attempts": "rollouts", "best_of": "best_of"}


def pooled(features_AF: Float32) -> Float32:
    """A menu as one row: mean and maximum of the features of the available actions of each kind.

    Pooling by kind forgets the places of actions, which mean nothing. 0 for a kind without one.
    """
    kinds, numbers = len(Kind), FEATURES - len(Kind)
    row = np.zeros((kinds, 2, numbers), dtype=np.float32)
    available_A = features_AF[:, Feature.AVAILABLE] > 0
    for kind in Kind:
        chosen = features_AF[available_A & (features_AF[:, kind] > 0), kinds:]
        if len(chosen):
            row[kind] = chosen.mean(axis=0), chosen.max(axis=0)
    return row.ravel()


def features_of(attempt: Trajectory) -> StepFeatures:
    """Numbers of the steps of an attempt on a menu.

    A step is what was chosen (the action's own row), what became of the call, and the menu after
    it, which holds what the answer has shown; nothing of the last step's result is shown.
    """
    steps = [_menu_step(step) for step in attempt.steps]
    before = [pooled(step.features_AF) for step in steps]
    after = [*before[1:], np.zeros_like(before[0])]
    rows = [
        np.concatenate([step.features_AF[step.completion.token_ids[0]], _outcome(step), menu])
        for step, menu in zip(steps, after, strict=True)
    ]
    return StepFeatures(np.stack(before), np.stack(rows).astype(np.float32))


def example_of(group: Group) -> Example:
    """A group on menus as models see it."""
    return Example(
        group.signals(),
        tuple(features_of(attempt) for attempt in group.attempts),
        tuple(_states(attempt) for attempt in group.attempts),
    )


class MenuSignals:
    """Adds the learned signals that an estimator needs to groups on menus.

    `models` learn batch by batch (`LearnedSignals`); `env` is used for rollouts from the middle,
    which the policy of the moment finishes.
    """

    def __init__(self, models: LearnedSignals, continuations: MenuContinuations, tree: MenuTree):
        self.models, self._continuations, self._tree = models, continuations, tree

    @classmethod
    def for_estimator(
        cls,
        estimator: Estimator,
        policy: MenuNetwork,
        make_env: Callable[[], ActionMenu],
        fitting: Fitting = Fitting(),
        prover: Mapping[str, int] | None = None,
    ) -> MenuSignals:
        """The models of all learned signals among the estimator's needs.

        `prover` has fields of `Prover`: attempts, best_of. Raises KeyError for others, and
        ValueError for an estimator that asks for no prover.
        """
        tree = MenuTree(make_env())
        continuations = MenuContinuations(tree, policy)
        given = {_PROVER[name]: value for name, value in (prover or {}).items()}
        models = LearnedSignals.for_estimator(estimator, continuations, fitting, **given)
        if given and not any(isinstance(model, Prover) for model in models.models):
            raise ValueError(f"{type(estimator).__name__} asks for no prover, got {prover}")
        return cls(models, continuations, tree)

    def __call__(self, groups: Sequence[Group]) -> list[Group]:
        """Return the groups with the signals on their steps; then the models learn from them."""
        if not self.models.models:
            return list(groups)
        found, _ = self.models([example_of(group) for group in groups])
        names = [name for model in self.models.models for name in model.gives]
        return [
            group.with_signals({name: signals.learned(name) for name in names})
            for group, signals in zip(groups, found, strict=True)
        ]

    @property
    def cost(self) -> dict[str, int]:
        """What rollouts from the middle have cost so far: turns of the environment, choices."""
        return {"turns": self._tree.turns, "choices": self._continuations.choices}

    def close(self) -> None:
        """Close the environment of the rollouts."""
        self._tree.close()


def learnable(estimator: Estimator) -> bool:
    """Whether an estimator asks for a signal that a model learns or rollouts estimate."""
    return bool(set(needs_of(estimator)) & set(LEARNED))


def _states(attempt: Trajectory) -> tuple[tuple[str, tuple[int, ...]], ...]:
    actions = [step.completion.token_ids[0] for step in attempt.steps]
    return tuple((attempt.task_id, tuple(actions[:place])) for place in range(len(actions)))


def _outcome(step: Step) -> Float32:
    return np.array([step.call_outcome == outcome for outcome in _OUTCOMES], dtype=np.float32)


def _menu_step(step: Step) -> MenuStep:
    if not isinstance(step, MenuStep):
        raise TypeError(f"expected steps of a MenuCollector, got a {type(step).__name__}")
    return step

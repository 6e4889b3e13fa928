"""From groups to the signals an estimator needs: ask the models, then let them learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agents.credit.base import Estimator, GroupSignals
from agents.learned.base import Example, Fitting, SignalModel, with_learned
from agents.learned.critic import Critic
from agents.learned.process_reward import ProcessRewardModel
from agents.learned.progress import ProgressEstimator
from agents.learned.prover import Continuations, Prover, labelled

LEARNED: Mapping[str, Callable[..., SignalModel]] = {
    "values": Critic,
    "progress": ProgressEstimator,
    "step_score": ProcessRewardModel,
    "prover_before": Prover,
    "prover_after": Prover,
}
"""Which model gives a signal."""


class LearnedSignals:
    """The models that an estimator needs, asked and trained batch by batch.

    A batch is credited with what the models knew before it, then they learn from it: a critic that
    had seen the outcome of an attempt would explain it away. The first batch alone is learned
    before it is asked about, since a model that knows nothing has nothing to say.

    Labels of the process reward model are made by `label_attempts` rollouts per step, for at most
    `label_groups` groups of a batch; "label_rollouts" in the log counts those of all batches.
    """

    def __init__(
        self,
        models: Sequence[SignalModel],
        continuations: Continuations | None = None,
        *,
        label_attempts: int = 8,
        label_groups: int = 4,
    ) -> None:
        self.models = tuple(models)
        self._continuations = continuations
        self._label_attempts, self._label_groups = label_attempts, label_groups
        self._batches, self._label_rollouts = 0, 0

    @classmethod
    def for_estimator(
        cls,
        estimator: Estimator,
        continuations: Continuations | None = None,
        fitting: Fitting = Fitting(),
        *,
        rollouts: int = 8,
        best_of: int = 4,
        label_groups: int = 4,
    ) -> LearnedSignals:
        """The models of all learned signals among the estimator's `needs`.

        The critic takes gamma, lam and rewards from the estimator; `fitting` goes to every model
        with a network. `rollouts` are attempts per state, for the prover (the best of `best_of`)
        and for labels. Raises ValueError when the estimator needs rollouts and there is nothing
        that makes them.
        """
        builders = dict.fromkeys(LEARNED[need] for need in needs_of(estimator) if need in LEARNED)
        if continuations is None and {Prover, ProcessRewardModel} & set(builders):
            raise ValueError(f"{type(estimator).__name__} needs rollouts from intermediate states")
        models = [
            Prover(continuations, attempts=rollouts, best_of=best_of)
            if builder is Prover and continuations is not None
            else builder(**_options(builder, estimator, fitting))
            for builder in builders
        ]
        return cls(
            models, continuations, label_attempts=rollouts, label_groups=label_groups
        )

    def __call__(self, examples: Sequence[Example]) -> tuple[list[GroupSignals], dict[str, float]]:
        """Return the groups with their learned signals, and what the models have to log."""
        metrics: dict[str, float] = {}
        known = list(examples)
        for model in self.models:
            if self._batches == 0:
                metrics |= self._fit(model, known)
            known = [
                replace(example, signals=with_learned(example.signals, learned))
                for example, learned in zip(known, model.signals(known), strict=True)
            ]
        if self._batches:
            for model in self.models:
                metrics |= self._fit(model, known)
        self._batches += 1
        return [example.signals for example in known], metrics

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {
            "batches": self._batches,
            "label_rollouts": self._label_rollouts,
            "models": [model.state_dict() for model in self.models],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._batches, self._label_rollouts = state["batches"], state["label_rollouts"]
        for model, stored in zip(self.models, state["models"], strict=True):
            model.load_state_dict(stored)

    def _fit(self, model: SignalModel, examples: Sequence[Example]) -> dict[str, float]:
        if not isinstance(model, ProcessRewardModel):
            return model.fit(examples)
        logged = model.fit(self._labelled(examples))
        return logged | {"label_rollouts": float(self._label_rollouts)}

    def _labelled(self, examples: Sequence[Example]) -> Sequence[Example]:
        if all(example.labels_GS for example in examples):
            return examples
        assert self._continuations is not None
        first = self._batches * self._label_groups % len(examples)
        turned = [*examples[first:], *examples[:first]][: self._label_groups]
        states = [{state for row in example.restore_GS for state in row} for example in turned]
        self._label_rollouts += self._label_attempts * sum(map(len, states))
        return labelled(
            turned,
            self._continuations,
            attempts=self._label_attempts,
            seed=self._batches * len(examples),
        )


def needs_of(estimator: Estimator) -> tuple[str, ...]:
    """The signals an estimator asks for; SPA with a critic also asks for values."""
    needs = tuple(getattr(estimator, "needs", ()))
    return (*needs, "values") if getattr(estimator, "baseline", "") == "critic" else needs


def _options(builder: Any, estimator: Estimator, fitting: Fitting) -> dict[str, Any]:
    if builder is not Critic:
        return {"fitting": fitting}
    names = ("gamma", "lam", "process_weight", "rewards")
    own = {name: getattr(estimator, name) for name in names if hasattr(estimator, name)}
    return {"fitting": fitting, **own}

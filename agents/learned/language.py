"""Learned signals on language models: features by hidden states, rollouts from the middle.

Shape suffixes: B attempts, T tokens, D width of the model; S steps of one attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from agents.batch import Batch, token_rows
from agents.credit.base import Estimator
from agents.learned.base import Example, Fitting, Float32, StepFeatures
from agents.learned.gold import GOLD, GoldSignals
from agents.learned.prover import Prover
from agents.learned.rollouts import ROLLED
from agents.learned.signals import LEARNED, LearnedSignals, needs_of
from agents.policies.base import Policy
from agents.rollout import SIGNALS as OF_EVERY_ROLLOUT
from agents.rollout import Collector, Place, places_of
from agents.types import Group, Trajectory
from text2sql_gym.types import CallOutcome, EpisodeOutcome

SIGNALS = OF_EVERY_ROLLOUT | ROLLED | GOLD | frozenset(LEARNED)
"""All that estimators can be told of a language model's attempts, by the names in their `needs`."""

_OUTCOMES = tuple(CallOutcome)
_SALT = 0x5EED


class EpisodeContinuations:
    """`Continuations` of a language model; a state is an `agents.rollout.Place`.

    The environment is put back into the state, the policy reads the tokens up to there, and
    episodes are played to their end. `policy` gives the policy of the moment; `played` counts the
    episodes. Its draws are not those of the attempts that are judged, whatever their seeds.
    """

    def __init__(self, collector: Collector, policy: Callable[[], Policy], seed: int = 0) -> None:
        self._collector, self._policy, self._seed = collector, policy, seed
        self.played = 0

    def successes(self, states: Sequence[Hashable], attempts: int, seed: int) -> list[int]:
        """Finish `attempts` episodes from each state; return how many of them succeed."""
        places = [_place(state) for state in states]
        own = np.random.SeedSequence((_SALT, self._seed, seed)).generate_state(1)
        found = self._collector.go_on(self._policy(), places, attempts, int(own[0]))
        self.played += attempts * len(places)
        return [sum(one.outcome == EpisodeOutcome.MATCH for one in ended) for ended in found]


class LanguageSignals:
    """Adds the signals that an estimator needs to groups of a language model's attempts.

    `golds` gives those that are told from gold queries; `models` learn batch by batch
    (`LearnedSignals`). With `by_token` a critic gives the value of
    every sampled token, before it: token-level PPO.

    The features are the policy's hidden states, without a gradient into the policy: a value head
    that does not pull at the model below it. Raises ValueError where another signal than a
    critic's is asked for by token.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        models: LearnedSignals,
        *,
        by_token: bool = False,
        golds: GoldSignals | None = None,
    ) -> None:
        if by_token and any(name != "values" for m in models.models for name in m.gives):
            raise ValueError("by token there are values of a critic alone")
        self._model, self.models, self._by_token = model, models, by_token
        self._golds = golds

    @classmethod
    def for_estimator(
        cls,
        estimator: Estimator,
        model: PreTrainedModel,
        continuations: EpisodeContinuations | None = None,
        fitting: Fitting = Fitting(),
        *,
        by_token: bool = False,
        golds: GoldSignals | None = None,
        **rollouts: int,
    ) -> LanguageSignals:
        """The models of all learned signals among the estimator's needs.

        `rollouts` are the options of `LearnedSignals.for_estimator`. Raises ValueError when the
        estimator needs `golds` and there are none.
        """
        if golds is None and (untold := sorted(GOLD & set(needs_of(estimator)))):
            raise ValueError(f"{type(estimator).__name__} needs golds to tell {', '.join(untold)}")
        models = LearnedSignals.for_estimator(estimator, continuations, fitting, **rollouts)
        return cls(model, models, by_token=by_token, golds=golds)

    def __call__(self, groups: Sequence[Group]) -> tuple[list[Group], dict[str, float]]:
        """Return the groups with their signals; then the models learn from them."""
        if self._golds is not None:
            groups = self._golds(groups)
        if not self.models.models:
            return list(groups), {}
        reads = any(not isinstance(one, Prover) for one in self.models.models)
        features = self._model if reads else None
        found, metrics = self.models([
            example_by_token(self._model, group) if self._by_token else example_of(features, group)
            for group in groups
        ])
        names = [name for model in self.models.models for name in model.gives]
        learned = [{name: signals.learned(name) for name in names} for signals in found]
        add = Group.with_token_signals if self._by_token else Group.with_signals
        return [*map(add, groups, learned)], metrics

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return self.models.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.models.load_state_dict(state)


@torch.no_grad()
def hidden_states(model: PreTrainedModel, rows: Batch) -> Tensor:
    """Return the last hidden state at every token of the rows, (B, T, D), fp32."""
    ids_BT = rows.token_ids_BT.to(model.device)
    hidden_BTD = model.get_decoder()(input_ids=ids_BT, use_cache=False).last_hidden_state
    return hidden_BTD.float().cpu()  # type: ignore[no-any-return]


def hidden_features(model: PreTrainedModel, attempts: Sequence[Trajectory]) -> list[StepFeatures]:
    """Return the features of every attempt's steps, in one forward pass over all.

    before_SF   last hidden state at the token before the step's first: all that was known then
    step_SD     that at the step's last token, then that at the last token of the answer to it
                (zeros after the last step), then what became of the call

    The hidden states are those of the policy of the moment, so a model over them has to keep up
    with it. An attempt of one row in memory costs B x T x D numbers: pass a group at a time.
    """
    hidden_BTD = hidden_states(model, token_rows(attempts))
    return [_features(x_TD, a) for x_TD, a in zip(hidden_BTD, attempts, strict=True)]


def example_of(model: PreTrainedModel | None, group: Group) -> Example:
    """A group of a language model's attempts as models of learned signals see it.

    Without a model there are no features; without states of the environment nothing to go back to.
    """
    features_G = () if model is None else tuple(hidden_features(model, group.attempts))
    known = all(step.before for attempt in group.attempts for step in attempt.steps)
    restore_GS = tuple(map(places_of, group.attempts)) if known else ()
    return Example(group.signals(), features_G, restore_GS)


def example_by_token(model: PreTrainedModel, group: Group) -> Example:
    """The same with every sampled token as a step: its features are the hidden state before it."""
    rows = token_rows(group.attempts)
    hidden_BTD = hidden_states(model, rows)
    features = []
    for hidden_TD, mask_T in zip(hidden_BTD, rows.mask_BT, strict=True):
        before_TD = hidden_TD[torch.nonzero(mask_T)[:, 0] - 1].numpy()
        features.append(StepFeatures(before_TD, before_TD[:, :0]))
    return Example(group.token_signals(), tuple(features))


def _features(hidden_TD: Tensor, attempt: Trajectory) -> StepFeatures:
    starts, ends, place = [], [], 0
    for step in attempt.steps:
        place += len(step.context_ids)
        starts.append(place - 1)
        place += len(step.completion.token_ids)
        ends.append(place - 1)
    before_SD, done_SD = (hidden_TD[index].numpy() for index in (starts, ends))
    answered_SD = np.concatenate([before_SD[1:], np.zeros_like(before_SD[:1])])
    became = [[step.call_outcome == name for name in _OUTCOMES] for step in attempt.steps]
    parts: list[Float32] = [done_SD, answered_SD, np.array(became, dtype=np.float32)]
    return StepFeatures(before_SD, np.concatenate(parts, axis=1))


def _place(state: Hashable) -> Place:
    if not isinstance(state, Place):
        raise TypeError(f"expected a Place as a state, got {state!r}")
    return state

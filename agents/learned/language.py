"""Features of a language model's steps: its own hidden states, where it had read what matters.

Shape suffixes: B attempts, T tokens, D width of the model; S steps of one attempt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from agents.batch import token_rows
from agents.learned.base import Example, Float32, StepFeatures
from agents.types import Group, Trajectory
from text2sql_gym.types import CallOutcome

_OUTCOMES = tuple(CallOutcome)


@torch.no_grad()
def hidden_features(model: PreTrainedModel, attempts: Sequence[Trajectory]) -> list[StepFeatures]:
    """Return the features of every attempt's steps, in one forward pass over all.

    before_SF   last hidden state at the token before the step's first: all that was known then
    step_SD     that at the step's last token, then that at the last token of the answer to it
                (zeros after the last step), then what became of the call

    The hidden states are those of the policy of the moment, so a model over them has to keep up
    with it. An attempt of one row in memory costs B x T x D numbers: pass a group at a time.
    """
    batch = token_rows(attempts)
    hidden_BTD = model.get_decoder()(
        input_ids=batch.token_ids_BT.to(model.device), use_cache=False
    ).last_hidden_state
    return [_features(x_TD.float(), a) for x_TD, a in zip(hidden_BTD, attempts, strict=True)]


def example_of(model: PreTrainedModel, group: Group) -> Example:
    """A group of a language model's attempts as models of learned signals see it."""
    return Example(group.signals(), tuple(hidden_features(model, group.attempts)))


def _features(hidden_TD: torch.Tensor, attempt: Trajectory) -> StepFeatures:
    starts, ends, place = [], [], 0
    for step in attempt.steps:
        place += len(step.context_ids)
        starts.append(place - 1)
        place += len(step.completion.token_ids)
        ends.append(place - 1)
    before_SD, done_SD = (hidden_TD[index].cpu().numpy() for index in (starts, ends))
    answered_SD = np.concatenate([before_SD[1:], np.zeros_like(before_SD[:1])])
    became = [[step.call_outcome == name for name in _OUTCOMES] for step in attempt.steps]
    parts: list[Float32] = [done_SD, answered_SD, np.array(became, dtype=np.float32)]
    return StepFeatures(before_SD, np.concatenate(parts, axis=1))

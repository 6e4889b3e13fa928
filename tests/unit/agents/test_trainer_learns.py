"""The trainer of language models learns a probe of two turns, with every estimator that can.

The first turn is one token, which should be even; so is the second. Only both pay at the end.
"""

import copy

import pytest
import torch
from flipped import Flipped
from rollout_records import attempt, group, step
from test_trainer import PROMPT

from agents.credit import ESTIMATORS
from agents.learned import Fitting
from agents.learned.language import LanguageSignals
from agents.rollout import SIGNALS
from agents.trainer import Optimization, Trainer

GROUPS, UPDATES, ANSWER = 32, 12, 30
GIVEN = SIGNALS | {"trees"}
CLOSED_FORM = [name for name in ESTIMATORS if set(ESTIMATORS[name].needs) <= GIVEN]
LEARNED = ["gae", "spa", "pav", "reward_sql"]
GOAL = {"spa": 0.4, "reward_sql": 0.8}
"""what is reached at least, where it is not 0.9: progress has to be told from outcomes first, and
step scores in [0, 1] make credit small"""


@torch.no_grad()
def draw(model, rows, draws):
    """The next token of every row, and its log-probability."""
    logprobs_BV = model(torch.tensor(rows)).logits[:, -1].log_softmax(-1)
    chosen_B1 = torch.multinomial(logprobs_BV.exp(), 1, generator=draws)
    return chosen_B1[:, 0].tolist(), logprobs_BV.gather(1, chosen_B1)[:, 0].tolist()


class Rest:
    """`Continuations` of the probe: the turns that are left, drawn anew."""

    def __init__(self, model):
        self.model = model

    def successes(self, states, attempts, seed):
        draws = torch.Generator().manual_seed(seed)
        rows = [place.token_ids for place in states for _ in range(attempts)]
        first, _ = draw(self.model, [PROMPT for _ in rows], draws)
        place = len(PROMPT)
        first = [row[place] if len(row) > place else t for row, t in zip(rows, first)]
        second, _ = draw(self.model, [[*PROMPT, t, ANSWER] for t in first], draws)
        paid = torch.tensor([t % 2 == 0 == u % 2 for t, u in zip(first, second)])
        return paid.view(-1, attempts).sum(dim=1).tolist()


def collect(model, seed, count=2 * GROUPS):
    """Attempts of the policy, in groups of two."""
    draws = torch.Generator().manual_seed(seed)
    first, first_logprobs = draw(model, [PROMPT] * count, draws)
    second, second_logprobs = draw(model, [[*PROMPT, t, ANSWER] for t in first], draws)
    attempts = []
    for turns in zip(first, first_logprobs, second, second_logprobs, strict=True):
        even = [float(turns[0] % 2 == 0), float(turns[2] % 2 == 0)]
        paid = even[0] * even[1]
        attempts.append(attempt(
            step(PROMPT, turns[:1], logprobs=turns[1:2], process=even[0],
                 state_key="first", before="1", signals={"grounding": 1.0}),
            step([ANSWER], turns[2:3], logprobs=turns[3:], process=even[1], outcome=paid,
                 state_key="second", before="2", signals={"grounding": 1.0}),
        ))
    pairs = zip(attempts[::2], attempts[1::2], strict=True)
    return [group(*pair) for pair in pairs]


def success(model):
    """Share of attempts that are paid."""
    attempts = [one for pair in collect(model, 999, 400) for one in pair.attempts]
    return sum(one.outcome_reward for one in attempts) / len(attempts)


def learned(model, name, wrap=lambda estimator: estimator):
    """Success after a few updates."""
    estimator = ESTIMATORS[name]()
    learner = copy.deepcopy(model)
    signals = LanguageSignals.for_estimator(
        estimator, learner, Rest(learner), Fitting(hidden=16, steps=20, learning_rate=1e-2)
    )
    trainer = Trainer(
        learner, wrap(estimator), optimization=Optimization(2e-2, warmup=0, token_budget=10**6),
        signals=signals,
    )
    for update in range(UPDATES):
        groups = collect(learner, update)
        if "trees" in estimator.needs:
            groups = [type(one)(one.task_id, one.attempts, ("0", "0")) for one in groups]
        trainer.update(groups)
    return success(learner)


def test_the_policy_it_begins_with_is_between_the_two(model):
    assert 0.15 < success(model) < 0.45


@pytest.mark.parametrize("name", [*CLOSED_FORM, *LEARNED])
def test_the_probe_is_learned_by_every_estimator_unless_its_sign_is_flipped(name, model):
    assert learned(model, name) > GOAL.get(name, 0.9)
    assert learned(model, name, Flipped) < 0.12

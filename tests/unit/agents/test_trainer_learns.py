"""The trainer of language models learns a probe of two turns, with every estimator.

The first turn is one token, which should be even; so is the second. Only both pay at the end.
"""

import copy
from dataclasses import replace

import pytest
import torch
from flipped import Flipped
from rollout_records import attempt, group, step
from test_trainer import PROMPT

from agents.credit import ESTIMATORS
from agents.learned import Fitting, LearnedSignals
from agents.learned.language import LanguageSignals
from agents.trainer import Optimization, Trainer

GROUPS, UPDATES, ANSWER = 32, 12, 30
GOAL = {"spa": 0.4, "reward_sql": 0.8}
"""what is reached at least, where it is not 0.9: progress has to be told from outcomes first, and
step scores in [0, 1] make credit small"""


@torch.no_grad()
def draw(model, rows, draws):
    """The next token of every row, and its log-probability."""
    logprobs_BV = model(torch.tensor(rows)).logits[:, -1].log_softmax(-1)
    chosen_B1 = torch.multinomial(logprobs_BV.exp(), 1, generator=draws)
    return chosen_B1[:, 0].tolist(), logprobs_BV.gather(1, chosen_B1)[:, 0].tolist()


@torch.no_grad()
def likeliest(model, rows):
    """The likeliest next token of every row, and the chance that the next one is even."""
    probs_BV = model(torch.tensor(rows)).logits[:, -1].softmax(-1)
    return probs_BV.argmax(dim=1).tolist(), probs_BV[:, ::2].sum(dim=1).tolist()


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
    """Attempts of the policy, in groups of two that are trees.

    With all signals that are not learned: the gold answer's chance is that of a paid end, and a
    first turn that is even proposes the right schema.
    """
    draws = torch.Generator().manual_seed(seed)
    first, first_logprobs = draw(model, [PROMPT] * count, draws)
    second, second_logprobs = draw(model, [[*PROMPT, t, ANSWER] for t in first], draws)
    _, even_B = likeliest(model, [[*PROMPT, t, ANSWER] for t in first])
    chances = [chance * (t % 2 == 0) for t, chance in zip(first, even_B, strict=True)]
    (best,), _ = likeliest(model, [PROMPT])
    (last,), _ = likeliest(model, [[*PROMPT, best, ANSWER]])
    same = {"grounding": 1.0, "greedy": float(best % 2 == 0 == last % 2)}
    attempts = []
    drawn = zip(first, first_logprobs, second, second_logprobs, chances, strict=True)
    for *turns, chance in drawn:
        even = [float(turns[0] % 2 == 0), float(turns[2] % 2 == 0)]
        gain = chance - sum(chances) / count
        told = {**same, "information_gain": gain, "schema_reward": even[0], "schema_phase": 1.0}
        nothing = {**same, "information_gain": 0.0, "schema_reward": 0.0, "schema_phase": 0.0}
        attempts.append(attempt(
            step(PROMPT, turns[:1], logprobs=turns[1:2], process=even[0],
                 state_key="first", before="1", signals=told),
            step([ANSWER], turns[2:3], logprobs=turns[3:], process=even[1],
                 outcome=even[0] * even[1], state_key="second", before="2", signals=nothing),
        ))
    pairs = zip(attempts[::2], attempts[1::2], strict=True)
    return [replace(group(*pair), trees=("0", "0")) for pair in pairs]


def success(model):
    """Share of attempts that are paid."""
    attempts = [one for pair in collect(model, 999, 400) for one in pair.attempts]
    return sum(one.outcome_reward for one in attempts) / len(attempts)


def learned(model, name, wrap=lambda estimator: estimator):
    """Success after a few updates."""
    estimator = ESTIMATORS[name]()
    learner = copy.deepcopy(model)
    fitting = Fitting(hidden=16, steps=20, learning_rate=1e-2)
    models = LearnedSignals.for_estimator(estimator, Rest(learner), fitting)
    trainer = Trainer(
        learner, wrap(estimator), optimization=Optimization(2e-2, warmup=0, token_budget=10**6),
        signals=LanguageSignals(learner, models),
    )
    for update in range(UPDATES):
        trainer.update(collect(learner, update))
    return success(learner)


def test_the_policy_it_begins_with_is_between_the_two(model):
    assert 0.15 < success(model) < 0.45


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_probe_is_learned_by_every_estimator_unless_its_sign_is_flipped(name, model):
    assert learned(model, name) > GOAL.get(name, 0.9)
    assert learned(model, name, Flipped) < 0.12

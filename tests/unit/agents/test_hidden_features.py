"""Features from a language model's hidden states, and what can be learned from them."""

import numpy as np
import pytest
import torch
from rollout_records import attempt, group, step
from transformers import Qwen3Config, Qwen3ForCausalLM

from agents.learned import Critic, Fitting, ProgressEstimator
from agents.learned.language import example_of, hidden_features
from text2sql_gym.types import CallOutcome

QUICK = Fitting(hidden=32, steps=200, learning_rate=1e-2)
GOOD, BAD, IDLE = 5, 6, 7


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=16, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
    )
    return Qwen3ForCausalLM(config).eval()


def one(*turns, outcome):
    """An attempt: each turn is what was sampled; the outcome is paid on the last."""
    last = len(turns) - 1
    return attempt(*[
        step([1, 2], [sampled, 3], outcome=outcome * (place == last))
        for place, sampled in enumerate(turns)
    ])


def test_features_are_the_hidden_states_where_steps_begin_and_end(model):
    made = attempt(step([1, 2], [4, 5], call_outcome="sql_error"), step([6], [7]))
    (found,) = hidden_features(model, [made])
    ids = torch.tensor([[1, 2, 4, 5, 6, 7]])
    with torch.no_grad():
        hidden_TD = model.model(input_ids=ids).last_hidden_state[0].numpy()
    close = dict(rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.before_SF, hidden_TD[[1, 4]], **close)
    np.testing.assert_allclose(found.step_SD[:, :16], hidden_TD[[3, 5]], **close)
    np.testing.assert_allclose(found.step_SD[0, 16:32], hidden_TD[4], **close)
    assert not found.step_SD[1, 16:32].any(), "nothing is answered after the end"
    outcomes = found.step_SD[:, 32:]
    names = list(CallOutcome)
    assert outcomes[0].argmax() == names.index("sql_error")
    assert outcomes[1].argmax() == names.index("ok") and (outcomes.sum(axis=1) == 1).all()


def test_features_do_not_depend_on_the_attempts_beside(model):
    short, long = one(GOOD, outcome=1.0), one(IDLE, IDLE, BAD, outcome=0.0)
    (alone,) = hidden_features(model, [short])
    beside, _ = hidden_features(model, [short, long])
    np.testing.assert_allclose(alone.before_SF, beside.before_SF, atol=1e-5)
    np.testing.assert_allclose(alone.step_SD, beside.step_SD, atol=1e-5)


@pytest.fixture(scope="module")
def examples(model):
    """Attempts whose outcome a token of the first turn decides."""
    shapes = [(GOOD,), (BAD,), (GOOD, IDLE), (BAD, IDLE), (GOOD, IDLE, IDLE), (BAD, IDLE, IDLE)]
    made = [one(*turns, outcome=float(turns[0] == GOOD)) for turns in shapes]
    return [example_of(model, group(*made))]


def test_a_critic_on_hidden_states_learns_what_has_been_decided(examples):
    critic = Critic(QUICK, clip=10.0)
    critic.fit(examples)
    (given,) = critic.signals(examples)
    first = [values_S[0] for values_S in given["values"]]
    np.testing.assert_allclose(first, 0.5, atol=0.1)  # all start alike
    for outcome, values_S in zip(examples[0].signals.outcome_G, given["values"], strict=True):
        np.testing.assert_allclose(values_S[1:], outcome, atol=0.15)


def test_contributions_on_hidden_states_sum_to_the_outcome(examples):
    model = ProgressEstimator(QUICK)
    model.fit(examples)
    (given,) = model.signals(examples)
    sums = [progress_S.sum() for progress_S in given["progress"]]
    np.testing.assert_allclose(sums, examples[0].signals.outcome_G, atol=0.1)

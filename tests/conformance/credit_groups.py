"""Groups of attempts for the laws of estimators: drawn at random, or with nothing to tell apart."""

import numpy as np
from hypothesis import strategies as st

from agents.credit import ESTIMATORS
from agents.credit.base import SIGNALS, GroupSignals, signals

rewards = st.floats(-2, 2).map(lambda x: round(x, 3))

# what a signal is where nothing happened: the policy is right about a task without reward,
# no step made progress, everybody answered with the same number of tokens per step
NEUTRAL = {
    "greedy": "outcome",
    "values": 0.0,
    "tokens": 7.0,
    "information_gain": "process",
    "schema_reward": 0.25,
    "schema_phase": 1.0,
    "step_score": 0.5,
    "progress": 0.125,
    "grounding": 1.0,
    "prover_before": 0.5,
    "prover_after": 0.5,
}
FIELDS = {"outcome", "process", "states", "trees"}


def learned_needs(name):
    return [need for need in ESTIMATORS[name].needs if need not in FIELDS]


# signals that are themselves a reward per step, so a longer attempt has more of them
PAID = {"information_gain", "schema_reward", "progress", "grounding"}


def uniform_group(name, reward, lengths, paid=1.0):
    """Attempts of these lengths whose every reward is `reward`, and neutral learned signals."""
    learned = {
        need: tuple(np.full(n, _neutral(need, reward, paid)) for n in lengths)
        for need in learned_needs(name)
    }
    return signals(
        [reward] * len(lengths),
        [[reward] * n for n in lengths],
        states_GS=tuple(tuple(f"state {t}" for t in range(n)) for n in lengths),
        learned_GS=learned,
        trees_G=tuple("ab"[i % 2] for i in range(len(lengths))),
    )


def _neutral(need, reward, paid):
    value = reward if isinstance(NEUTRAL[need], str) else NEUTRAL[need]
    return value * paid if need in PAID else value


@st.composite
def groups(draw, name, min_attempts=1):
    """Draw a group of one to five attempts with one to four steps each, and what it needs."""
    lengths = draw(st.lists(st.integers(1, 4), min_size=min_attempts, max_size=5))
    return draw(groups_of(lengths, learned_needs(name)))


@st.composite
def groups_of(draw, lengths, needs=tuple(SIGNALS)):
    """Draw a group of attempts of these lengths with these signals, by default with all."""

    def rows(values):
        return tuple(np.array([draw(values) for _ in range(n)]) for n in lengths)

    positive = st.integers(1, 20).map(float)
    return signals(
        [draw(rewards) for _ in lengths],
        rows(rewards),
        states_GS=tuple(tuple(draw(st.sampled_from("abc")) for _ in range(n)) for n in lengths),
        learned_GS={need: rows(positive if need == "tokens" else rewards) for need in needs},
        trees_G=tuple(draw(st.sampled_from("xy")) for _ in lengths),
    )


def reorder(group, order):
    """Return the group with its attempts in another order."""
    return GroupSignals(
        group.outcome_G[order],
        tuple(group.process_GS[i] for i in order),
        tuple(group.states_GS[i] for i in order),
        {name: tuple(rows[i] for i in order) for name, rows in group.learned_GS.items()},
        tuple(group.trees_G[i] for i in order),
    )

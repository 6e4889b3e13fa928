"""Laws of every reward term in `REWARDS` and every scheme in `SCHEMES`."""

import inspect
import math
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text2sql_gym.rewards import REWARDS, SCHEMES
from text2sql_gym.types import (
    CallOutcome,
    EpisodeOutcome,
    Table,
    Task,
    ToolCall,
    ToolResult,
    Transition,
    Turn,
)

CELLS = st.sampled_from([None, 0, 1, 1.0, -2.5, 2**62, float("nan"), float("inf"), "", "a", b"a"])
PAIRS = st.sampled_from([("sale", ""), ("sale", "id"), ("shop", "id")])


@st.composite
def tables(draw):
    width = draw(st.integers(1, 3))
    rows = draw(st.lists(st.tuples(*[CELLS] * width), max_size=4))
    reads = draw(st.frozensets(PAIRS))
    return Table(("a", "b", "c")[:width], tuple(rows), draw(st.booleans()), reads)


@st.composite
def turns(draw):
    """A turn as the environment makes them: what ran has a table, what did not has an error."""
    outcome, final = draw(st.sampled_from(CallOutcome)), draw(st.booleans())
    if outcome is CallOutcome.MALFORMED:
        return Turn(None, ToolResult("Error: x", outcome, error="x"))
    call = ToolCall("submit" if final else "execute_sql", {"sql": draw(st.text(max_size=5))})
    if outcome in (CallOutcome.OK, CallOutcome.TRUNCATED, CallOutcome.DUPLICATE):
        return Turn(call, ToolResult("", outcome, draw(tables()), final=final))
    return Turn(call, ToolResult("Error: x", outcome, error="x", final=final))


@st.composite
def transitions(draw):
    turn, golds = draw(turns()), tuple(draw(st.lists(tables(), max_size=2)))
    submitted = turn.result.final
    outcome = draw(st.sampled_from(EpisodeOutcome)) if submitted else EpisodeOutcome.NO_SUBMISSION
    task = Task("t", "shop.sqlite", "?", ("SELECT 1",) * len(golds))
    history = tuple(draw(st.lists(turns(), max_size=3)))
    return Transition(task, golds, turn.call, turn.result, history, outcome)


def stated_range(name):
    """The least and the greatest value that the docstring states."""
    reward = REWARDS[name]
    text = inspect.getdoc(reward if inspect.isfunction(reward) else type(reward)) or ""
    found = re.search(r"Range: ([\[{])(-?[\d.]+), (?:.*, )?(-?[\d.]+)[\]}]", text)
    assert found, f"{name} does not state its range"
    return float(found[2]), float(found[3])


@pytest.mark.parametrize("name", REWARDS)
class TestEveryReward:
    def test_stays_within_the_range_it_states_and_repeats(self, name):
        reward, (least, greatest) = REWARDS[name], stated_range(name)

        @settings(deadline=None, max_examples=150)
        @given(transitions())
        def check(transition):
            value = reward(transition)
            assert isinstance(value, float) and math.isfinite(value)
            assert least <= value <= greatest
            assert reward(transition) == value

        check()

    def test_pays_nothing_for_a_step_without_a_result(self, name):
        for outcome in (CallOutcome.SQL_ERROR, CallOutcome.MALFORMED, CallOutcome.TIMEOUT):
            failed = ToolResult("Error: x", outcome, error="x")
            transition = Transition(Task("t", "d", "?"), (Table(("a",), ()),), None, failed)
            assert REWARDS[name](transition) <= 0.0

    def test_can_be_pickled(self, name):
        assert pickle.loads(pickle.dumps(REWARDS[name])) == REWARDS[name]


@pytest.mark.parametrize("name", SCHEMES)
class TestEveryScheme:
    def test_weighs_terms_that_exist(self, name):
        assert set(SCHEMES[name].names) <= set(REWARDS)

    def test_pays_more_for_a_right_answer_at_once_than_for_any_wrong_one(self, name):
        scheme = SCHEMES[name]
        table = Table(("a",), (("Oslo",),))

        def paid(outcome):
            result = ToolResult("", CallOutcome.OK, table, final=True)
            turn = Transition(Task("t", "d", "?"), (table,), None, result, (), outcome)
            return scheme.scalar({term: REWARDS[term](turn) for term in scheme.names})

        assert paid(EpisodeOutcome.MATCH) > paid(EpisodeOutcome.MISMATCH) + 0.5

    def test_has_sums_that_make_its_scalar(self, name):
        scheme = SCHEMES[name]
        terms = {term: 0.25 * place for place, term in enumerate(scheme.names, start=1)}
        process = scheme.process_scale * scheme.process_sum(terms)
        assert scheme.scalar(terms) == scheme.outcome_sum(terms) + process

"""Laws of every reward term in `REWARDS` and every scheme in `SCHEMES`."""

import math
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text2sql_gym.rewards import REWARDS, SCHEMES
from text2sql_gym.rewards.__main__ import PARTS, page, said
from text2sql_gym.types import (
    CallOutcome,
    Column,
    EpisodeOutcome,
    Table,
    TableSchema,
    Task,
    ToolCall,
    ToolResult,
    Transition,
    Turn,
)

CELLS = st.sampled_from([None, 0, 1, 1.0, -2.5, 2**62, float("nan"), float("inf"), "", "a", b"a"])
PAIRS = st.sampled_from([("sale", ""), ("sale", "id"), ("shop", "id")])


STATEMENTS = [
    "SELECT id FROM sale",
    "SELECT * FROM sale JOIN shop USING (id) WHERE sale.id > 1",
    "WITH a AS (SELECT id FROM sale), b AS (SELECT 1), c AS (SELECT * FROM a) SELECT id FROM c",
    "WITH a AS (SELECT id FROM sale) SELECT nothing FROM a",
    "SELECT 'x' UNION SELECT id FROM nowhere",
    "SELEC 1",
    "",
]
PROPOSALS = ["sale(id)", "sale(id); shop(id)", "sale()", "no proposal"]
ACCEPTED = [CallOutcome.OK, CallOutcome.DUPLICATE, CallOutcome.MALFORMED]
ID = Column("id", "INTEGER")
SCHEMA = (TableSchema("sale", (ID,)), TableSchema("shop", (ID, Column("name", "TEXT"))))


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
    sql = draw(st.sampled_from(STATEMENTS) | st.text(max_size=5))
    call = ToolCall("submit" if final else "execute_sql", {"sql": sql})
    if not final and draw(st.booleans()):
        call = ToolCall("propose_schema", {"schema": draw(st.sampled_from(PROPOSALS))})
        return Turn(call, ToolResult("(proposed)", draw(st.sampled_from(ACCEPTED))))
    if outcome in (CallOutcome.OK, CallOutcome.TRUNCATED, CallOutcome.DUPLICATE):
        return Turn(call, ToolResult("", outcome, draw(tables()), final=final))
    return Turn(call, ToolResult("Error: x", outcome, error="x", final=final))


@st.composite
def transitions(draw):
    turn, golds = draw(turns()), tuple(draw(st.lists(tables(), max_size=2)))
    submitted = turn.result.final
    outcome = draw(st.sampled_from(EpisodeOutcome)) if submitted else EpisodeOutcome.NO_SUBMISSION
    gold_sql = draw(st.lists(st.sampled_from(STATEMENTS), min_size=len(golds), max_size=len(golds)))
    task = Task("t", "shop.sqlite", "?", tuple(gold_sql))
    history = tuple(draw(st.lists(turns(), max_size=3)))
    return Transition(task, golds, turn.call, turn.result, history, outcome, SCHEMA)


def stated_range(name):
    """The least and the greatest value that the docstring states."""
    text = said(REWARDS[name])["Range"]
    found = re.match(r"[\[{](-?[\d.]+), (?:.*, )?(-?[\d.]+)[\]}]", text)
    assert found, f"{name} does not state its range: {text!r}"
    return float(found[1]), float(found[2])


SHOWN = Table(("id",), ((1,), (2,)), reads=frozenset({("sale", "id")}))


def asked(sql, result):
    """A turn with this statement, where the gold query reads what `SHOWN` reads."""
    task = Task("t", "shop.sqlite", "?", ("SELECT id FROM sale",))
    return Transition(task, (SHOWN,), ToolCall("execute_sql", {"sql": sql}), result, schema=SCHEMA)


@settings(deadline=None, max_examples=200)
@given(transitions())
def test_every_reward_stays_within_the_range_it_states_and_repeats(transition):
    for name, reward in REWARDS.items():
        least, greatest = stated_range(name)
        value = reward(transition)
        assert isinstance(value, float) and math.isfinite(value), name
        assert least <= value <= greatest, name
        assert reward(transition) == value, name


@pytest.mark.parametrize("name", REWARDS)
class TestEveryReward:
    def test_says_what_it_pays_how_it_is_gamed_and_where_it_comes_from(self, name):
        assert all(said(REWARDS[name]).get(part) for part in ("", *PARTS))

    @pytest.mark.parametrize("final", [True, False])
    @pytest.mark.parametrize("sql", STATEMENTS)
    def test_pays_nothing_for_a_step_without_a_result(self, name, sql, final):
        for outcome in (CallOutcome.SQL_ERROR, CallOutcome.NOT_ALLOWED, CallOutcome.TIMEOUT):
            failed = ToolResult("Error: x", outcome, error="x", final=final)
            assert REWARDS[name](asked(sql, failed)) <= 0.0

    @pytest.mark.parametrize("sql", STATEMENTS)
    def test_pays_nothing_for_a_repeat(self, name, sql):
        assert REWARDS[name](asked(sql, ToolResult("", CallOutcome.DUPLICATE, SHOWN))) <= 0.0

    def test_pays_nothing_for_an_action_that_is_no_call(self, name):
        malformed = ToolResult("Error: x", CallOutcome.MALFORMED, error="x")
        assert REWARDS[name](Transition(Task("t", "d", "?"), (SHOWN,), None, malformed)) <= 0.0

    def test_pays_no_more_for_a_wrong_answer_than_for_a_right_one(self, name):
        def paid(outcome):
            result = ToolResult("", CallOutcome.OK, SHOWN, final=True)
            return REWARDS[name](replace(asked(STATEMENTS[0], result), outcome=outcome))

        wrong = (EpisodeOutcome.MISMATCH, EpisodeOutcome.NO_GOLD, EpisodeOutcome.PREDICTED_ERROR)
        assert all(paid(EpisodeOutcome.MATCH) >= paid(outcome) for outcome in wrong)

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

    def test_says_where_it_comes_from(self, name):
        assert SCHEMES[name].source


def test_the_page_of_rewards_is_what_the_docstrings_say():
    stored = Path(__file__).parents[2] / "docs" / "rewards.md"
    command = "python -m text2sql_gym.rewards > docs/rewards.md"
    assert stored.read_text() == page() + "\n", f"run {command}"

"""Schema linking, proposals, exploration, CTEs, form, cost and texts: numbers by hand."""

import pytest

from text2sql_gym.rewards.call_cost import call_cost
from text2sql_gym.rewards.cte_validity import cte_validity
from text2sql_gym.rewards.exploration import Exploration
from text2sql_gym.rewards.form import four_phases, well_formed
from text2sql_gym.rewards.graded_outcome import (
    arctic_outcome,
    skyrl_sql_outcome,
    sql_r1_outcome,
    trust_sql_outcome,
)
from text2sql_gym.rewards.recall import cell_f1
from text2sql_gym.rewards.linked_schema import SchemaLinking
from text2sql_gym.rewards.schema_proposal import SchemaProposal
from text2sql_gym.rewards.statements import named_in, tree_of
from text2sql_gym.rewards.text_match import entity_match, exact_match
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

SCHEMA = tuple(
    TableSchema(name, tuple(Column(column, "TEXT") for column in columns.split()))
    for name, columns in {"Sale": "id city Price shop", "Shop": "shop name"}.items()
)
GOLD_SQL = "SELECT name, count(*) FROM sale JOIN shop USING (shop) WHERE price > 3 GROUP BY name"
GOLD = Table(
    ("name", "n"), (("Elm", 1), ("Oak", 2)), reads=frozenset({("Sale", "Price"), ("Shop", "name")})
)
ROWS = Table(("a",), (("Elm",),), reads=frozenset({("Sale", "city")}))


def ran(sql, table=ROWS, outcome=CallOutcome.OK, final=False):
    return Turn(
        ToolCall("submit" if final else "execute_sql", {"sql": sql}),
        ToolResult("", outcome, table, final=final),
    )


def failed(sql, outcome=CallOutcome.SQL_ERROR, error="no such column: x", final=False):
    return Turn(
        ToolCall("submit" if final else "execute_sql", {"sql": sql}),
        ToolResult("", outcome, error=error, final=final),
    )


def proposed(schema, outcome=CallOutcome.OK):
    return Turn(ToolCall("propose_schema", {"schema": schema}), ToolResult("", outcome))


MALFORMED = Turn(None, ToolResult("", CallOutcome.MALFORMED, error="x"))


def paid(reward, *turns, outcome=EpisodeOutcome.NO_SUBMISSION, golds=((GOLD_SQL, GOLD),)):
    """What the last of these turns is paid."""
    *before, last = turns
    sqls, tables = zip(*golds, strict=True) if golds else ((), ())
    task = Task("t", "shop.sqlite", "?", sqls)
    step = Transition(task, tables, last.call, last.result, tuple(before), outcome, SCHEMA)
    return reward(step)


class TestGradedOutcomes:
    @pytest.mark.parametrize(
        ("outcome", "trust", "arctic", "skyrl", "sql_r1"),
        [
            (EpisodeOutcome.MATCH, 1.0, 1.0, 1.0, 6.0),
            (EpisodeOutcome.MISMATCH, 0.2, 0.1, 0.0, 0.0),
            (EpisodeOutcome.PREDICTED_ERROR, 0.0, 0.0, 0.0, -1.0),
            (EpisodeOutcome.NO_GOLD, 0.0, 0.0, 0.0, 0.0),
            (EpisodeOutcome.NO_SUBMISSION, 0.0, 0.0, 0.0, 0.0),
        ],
    )
    def test_what_an_answer_is_worth(self, outcome, trust, arctic, skyrl, sql_r1):
        rewards = (trust_sql_outcome, arctic_outcome, skyrl_sql_outcome, sql_r1_outcome)
        turn = ran("SELECT 1", final=True)
        assert [paid(r, turn, outcome=outcome) for r in rewards] == [trust, arctic, skyrl, sql_r1]

    @pytest.mark.parametrize("reward", [skyrl_sql_outcome, sql_r1_outcome])
    def test_a_broken_form_costs_one_and_the_answer_once(self, reward):
        answer, right = ran("SELECT 1", final=True), EpisodeOutcome.MATCH
        assert paid(reward, MALFORMED) == -1.0
        assert paid(reward, MALFORMED, MALFORMED) == 0.0
        assert paid(reward, MALFORMED, answer, outcome=right) == 0.0
        assert paid(reward, ran("SELECT 1"), answer, outcome=right) > 0.0

    @pytest.mark.parametrize("reward", [trust_sql_outcome, arctic_outcome])
    def test_form_is_no_part_of_the_others(self, reward):
        answer = ran("SELECT 1", final=True)
        assert paid(reward, MALFORMED, answer, outcome=EpisodeOutcome.MATCH) == 1.0


class TestCellF1:
    @pytest.mark.parametrize(
        ("rows", "f1"),
        [
            ((("Elm", 1), ("Oak", 2)), 1.0),
            ((("Elm", 1),), 2 * 2 / (4 + 2)),
            ((("Elm", 7), ("oak ", 8)), 2 * 2 / (4 + 4)),
            ((("Yew", 9),), 0.0),
            ((), 0.0),
        ],
    )
    def test_is_twice_the_shared_cells_over_all(self, rows, f1):
        assert paid(cell_f1, ran("SELECT 1", Table(("a", "b"), rows))) == f1


class TestSchemaLinking:
    READ = Table(("a",), (), reads=frozenset({("Sale", "Price"), ("Sale", "id"), ("Sale", "city")}))

    @pytest.mark.parametrize(
        ("score", "value"),
        # of three columns read one is wanted; of two wanted one is read
        [("precision", 1 / 3), ("recall", 1 / 2), ("f1", 2 / 5)],
    )
    def test_by_what_the_engine_read(self, score, value):
        assert paid(SchemaLinking(score), ran("SELECT 1", self.READ)) == pytest.approx(value)

    @pytest.mark.parametrize(
        ("score", "value"),
        # the gold names price, name and shop on both sides; the query price, name and city
        [("precision", 2 / 3), ("recall", 2 / 4), ("f1", 4 / 7)],
    )
    def test_by_what_the_texts_name(self, score, value):
        sql = "SELECT price, name, CITY FROM sale s, shop"
        assert paid(SchemaLinking(score, "text"), ran(sql)) == pytest.approx(value)

    @pytest.mark.parametrize("source", ["engine", "text"])
    def test_a_gold_that_reads_nothing_pays_nothing(self, source):
        nothing = Table(("a",), ((1,),))
        turn = ran("SELECT 1", nothing)
        assert paid(SchemaLinking("recall", source), turn, golds=(("SELECT 1", nothing),)) == 0.0

    def test_the_best_gold_counts(self):
        city = ("SELECT city FROM sale", ROWS)
        sql = "SELECT city FROM sale"
        for source in ("engine", "text"):
            linking = SchemaLinking("f1", source)
            assert paid(linking, ran(sql), golds=((GOLD_SQL, GOLD), city)) == 1.0


class TestNamedIn:
    @pytest.mark.parametrize(
        ("sql", "pairs"),
        [
            ("SELECT count(*) FROM SALE", {("Sale", "")}),
            ("SELECT * FROM shop", {("Shop", "shop"), ("Shop", "name")}),
            ("SELECT city FROM sale JOIN shop USING (shop)",
             {("Sale", "city"), ("Sale", "shop"), ("Shop", "shop")}),
            ("SELECT x.name FROM shop x WHERE x.shop IN (SELECT shop FROM sale)",
             {("Shop", "name"), ("Shop", "shop"), ("Sale", "shop")}),
            ("WITH a AS (SELECT city FROM sale) SELECT city FROM a", {("Sale", "city")}),
            ("SELECT nothing FROM sale", {("Sale", "")}),
            ("SELECT 1", set()),
            ("SELEC", set()),
            ("DELETE FROM sale", set()),
            ("SELECT 1; SELECT 2", set()),
            ("", set()),
        ],
    )  # fmt: skip
    def test_which_tables_and_columns_a_text_names(self, sql, pairs):
        assert named_in(SCHEMA, sql, "shop.sqlite") == pairs

    @pytest.mark.parametrize("sql", ["(" * 999, "SELECT " + "(" * 999, "SELECT 1" + "+1" * 6_000])
    def test_what_cannot_be_parsed_is_no_query(self, sql):
        assert tree_of(sql, "shop.sqlite") is None


class TestSchemaProposal:
    RIGHT = "sale(price, shop); shop(shop, name)"
    PART = "sale(price); shop(name)"
    NOW, LATER = SchemaProposal("f1", if_right=False), SchemaProposal("f1")
    F1 = 0.4 * 1 + 0.6 * 2 / 3  # all tables; two of four columns and none too many

    def test_a_proposal_is_paid_what_it_gains_over_the_best_earlier_one(self):
        first, second = proposed(self.PART), proposed(self.RIGHT)
        assert paid(self.NOW, first) == pytest.approx(self.F1)
        assert paid(self.NOW, first, second) == pytest.approx(1 - self.F1)
        assert paid(self.NOW, second, first) == 0.0
        assert paid(self.NOW, first, ran("SELECT 1")) == 0.0

    def test_a_right_answer_is_paid_the_last_proposal_and_a_wrong_one_none(self):
        turns = [proposed(self.RIGHT), proposed(self.PART), ran("SELECT 1", final=True)]
        assert paid(self.LATER, *turns, outcome=EpisodeOutcome.MATCH) == pytest.approx(self.F1)
        assert paid(self.LATER, *turns, outcome=EpisodeOutcome.MISMATCH) == 0.0
        assert paid(self.LATER, *turns[:2]) == 0.0
        assert paid(self.LATER, turns[2], outcome=EpisodeOutcome.MATCH) == 0.0

    @pytest.mark.parametrize(
        "outcome", [CallOutcome.MALFORMED, CallOutcome.SQL_ERROR, CallOutcome.TRUNCATED]
    )
    def test_a_refused_proposal_is_none(self, outcome):
        assert paid(self.NOW, proposed(self.RIGHT, outcome)) == 0.0

    def test_total_match_pays_for_the_needed_items_and_no_others(self):
        exact = SchemaProposal(if_right=False)
        everything = "sale(id, city, price, shop); shop(shop, name)"
        worth = [paid(exact, proposed(s)) for s in (self.RIGHT, self.PART, everything, "sale()")]
        assert worth == [1.0, 0.0, 0.0, 0.0]

    def test_an_unknown_mode_is_refused(self):
        with pytest.raises(LookupError, match="total_match"):
            SchemaProposal("totalmatch")


class TestExploration:
    SHOP = ran("SELECT name FROM shop", Table(("a",), (), reads=frozenset({("Shop", "name")})))
    PRICE = ran("SELECT price FROM sale", Table(("a",), (), reads=frozenset({("Sale", "Price")})))
    CELL = ran("SELECT count(*) FROM sale", Table(("n",), ((2,),), reads=frozenset({("Sale", "")})))
    FREE = ran("SELECT 'Elm', 1", Table(("a", "b"), (("Elm", 1),)))
    END = ran("SELECT 1", final=True)

    @pytest.mark.parametrize(
        ("before", "worth"),
        [
            ([], 0.0),
            ([FREE], 0.0),  # reads nothing
            ([ran("SELECT city FROM sale", Table(("a",), (), reads=ROWS.reads))], 0.0),
            ([SHOP], 0.5),
            ([SHOP, SHOP], 0.5),  # shows nothing new
            ([SHOP, PRICE], 1.0),
            ([SHOP, CELL], 1.0),
            ([SHOP, PRICE, CELL], 1.0),
            ([SHOP, ran("SELECT 1", PRICE.result.table, CallOutcome.DUPLICATE)], 0.5),
            ([SHOP, failed("SELECT x")], 0.5),
        ],
    )
    def test_counts_calls_that_show_something_new_of_the_gold(self, before, worth):
        assert paid(Exploration(), *before, self.END) == worth

    def test_is_paid_with_the_answer_only(self):
        assert paid(Exploration(), self.SHOP, self.PRICE) == 0.0

    def test_how_much_is_enough_can_be_said(self):
        assert paid(Exploration(enough=4), self.SHOP, self.END) == 0.25
        with pytest.raises(ValueError, match="at least 1 call, got 0"):
            Exploration(enough=0)

    def test_a_column_named_like_a_cell_is_no_cell(self):
        odd = Table(("a",), (("price",),), reads=frozenset({("cell", "elm")}))
        assert paid(Exploration(), ran("SELECT 1", odd), self.END) == 0.0


A = "a AS (SELECT city FROM sale)"
B = "b AS (SELECT city FROM a WHERE city > 'B')"


def chain(*links, end):
    return f"WITH {', '.join(links)} SELECT * FROM {end}"


class TestCteValidity:
    @pytest.mark.parametrize(
        ("sql", "worth"),
        [
            ("SELECT city FROM sale", 0.0),
            (chain(A, end="a"), 1.0),
            (chain(A, B, end="b"), 1.0),
            (chain(A, B, end="a"), 1 / 2),  # b is not used
            (chain(A, "k AS (SELECT 1)", end="a, k"), 1 / 2),  # reads nothing
            (chain(A, "k AS (WITH z AS (SELECT 1) SELECT * FROM z)", end="a, k"), 1 / 2),
            (chain(A, "c AS (SELECT * FROM a)", end="c"), 1 / 2),  # a copy
            (chain(A, "c AS (SELECT * FROM a LIMIT 1)", end="c"), 1.0),
            (chain(A, "c AS (SELECT CITY FROM Sale)", end="a, c"), 1 / 2),  # said twice
            (chain("c AS (SELECT * FROM sale)", end="c"), 1.0),  # a table is no CTE
            ("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", 0),
            (chain(A, end="a") + " UNION SELECT 'x'", 1.0),
        ],
    )
    def test_is_the_share_of_sound_links(self, sql, worth):
        assert paid(cte_validity, ran(sql)) == worth

    def test_a_statement_that_adds_no_link_is_paid_nothing_unless_it_answers(self):
        short, long = chain(A, end="a"), chain(A, B, end="b")
        again = chain(A, end="a WHERE 1")
        assert paid(cte_validity, ran(short), ran(again)) == 0.0
        assert paid(cte_validity, ran(short), ran(long)) == 1.0
        assert paid(cte_validity, ran(long), ran(short)) == 0.0
        assert paid(cte_validity, ran(short), ran(again, final=True)) == 1.0

    def test_a_failed_answer_is_paid_for_the_links_that_ran_before(self):
        broken = chain(A, "b AS (SELECT x FROM a)", end="b")
        other_ground = chain("a AS (SELECT id FROM sale)", B, end="b")
        before = ran(chain(A, B, end="b"))
        assert paid(cte_validity, before, failed(broken, final=True)) == 1 / 2
        assert paid(cte_validity, before, failed(broken)) == 0.0
        assert paid(cte_validity, failed(broken, final=True)) == 0.0
        assert paid(cte_validity, before, failed(other_ground, final=True)) == 0.0

    def test_links_that_failed_or_were_repeated_before_are_no_ground(self):
        answer = failed(chain(A, end="a"), final=True)
        for before in (failed(chain(A, end="a")), ran(chain(A, end="a"), None)):
            assert paid(cte_validity, before, answer) == 0.0

    def test_a_repeat_is_paid_nothing(self):
        repeat = ran(chain(A, end="a"), outcome=CallOutcome.DUPLICATE)
        assert paid(cte_validity, ran(chain(A, end="a")), repeat) == 0.0


class TestForm:
    ANSWER = ran("SELECT 1", final=True)
    LOOK, PROPOSE = ran("SELECT 1"), proposed("sale(id)")

    @pytest.mark.parametrize(
        ("turns", "formed", "phases"),
        [
            ([ANSWER], 1.0, 0.0),
            ([LOOK, PROPOSE, LOOK, ANSWER], 1.0, 1.0),
            ([PROPOSE, LOOK, ANSWER], 1.0, 0.0),  # nothing was explored
            ([LOOK, PROPOSE, ANSWER], 1.0, 0.0),  # nothing was tried
            ([LOOK, LOOK, ANSWER], 1.0, 0.0),  # nothing was proposed
            ([LOOK, proposed("x", CallOutcome.SQL_ERROR), LOOK, ANSWER], 1.0, 0.0),
            ([LOOK, PROPOSE, failed("SELECT x"), ANSWER], 1.0, 0.0),
            ([LOOK, PROPOSE, failed("SELECT x"), LOOK, ANSWER], 1.0, 1.0),
            ([LOOK, PROPOSE, failed("SELEC", error="syntax error"), LOOK, ANSWER], 1.0, 0.0),
            ([failed("SELECT 1", CallOutcome.NO_PROPOSAL), LOOK, PROPOSE, LOOK, ANSWER], 1.0, 0.0),
            ([LOOK, MALFORMED, PROPOSE, LOOK, ANSWER], 0.0, 0.0),
            ([LOOK, PROPOSE, LOOK, failed("SELECT x", final=True)], 0.0, 0.0),
            ([LOOK, PROPOSE, LOOK], 0.0, 0.0),
            ([MALFORMED], 0.0, 0.0),
        ],
    )
    def test_is_paid_at_the_end_of_an_episode_in_form(self, turns, formed, phases):
        assert (paid(well_formed, *turns), paid(four_phases, *turns)) == (formed, phases)


class TestCallCost:
    def test_every_turn_but_the_answer_costs_one(self):
        turns = [ran("SELECT 1"), failed("SELECT x"), MALFORMED, ran("SELECT 1", final=True)]
        assert [paid(call_cost, turn) for turn in turns] == [-1.0, -1.0, -1.0, 0.0]


class TestTextMatch:
    TWO = Table(("a", "b"), ())

    def test_the_gold_text_in_another_hand_is_an_exact_match(self):
        sql = GOLD_SQL.lower().replace(" from", "\n from -- so\n") + " ;"
        assert paid(exact_match, ran(sql, final=True)) == 1.0
        assert paid(exact_match, ran(sql)) == 0.0
        assert paid(exact_match, ran(sql + " LIMIT 9", final=True)) == 0.0
        assert paid(exact_match, ran(sql, final=True), golds=()) == 0.0

    @pytest.mark.parametrize(
        ("sql", "table", "f1"),
        [
            (GOLD_SQL, TWO, 1.0),
            (GOLD_SQL.replace(">", "<"), TWO, 1.0),
            # the gold names 4 columns and the literal 3; this 1 column and the literals 3 and 4
            ("SELECT price, 4 FROM sale WHERE price > 3", TWO, 2 * 2 / (5 + 3)),
            (GOLD_SQL, ROWS, 0.0),  # one column is not two
            ("SELECT 'a', '3'", TWO, 0.0),  # a text is no number
            ("SELEC", TWO, 0.0),
        ],
    )
    def test_entities_are_columns_and_literals(self, sql, table, f1):
        assert paid(entity_match, ran(sql, table, final=True)) == pytest.approx(f1)

    def test_entities_count_in_an_answer_that_runs(self):
        assert paid(entity_match, ran(GOLD_SQL, self.TWO)) == 0.0
        assert paid(entity_match, failed(GOLD_SQL, final=True)) == 0.0

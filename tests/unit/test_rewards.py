"""Every reward term by hand, and what each pays for the known ways to game it."""

import sqlite3
from contextlib import closing

import gymnasium as gym
import pytest

from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.rewards import REWARDS, SCHEMES, RewardScheme
from text2sql_gym.rewards.execution_match import execution_match
from text2sql_gym.rewards.hard_constraints import HardConstraints
from text2sql_gym.rewards.recall import (
    cell_recall,
    column_recall,
    progress_recall,
    schema_recall,
)
from text2sql_gym.rewards.schema_linking import SchemaItems, overlap, schema_score
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

GOLD = Table(("city", "n"), (("Oslo", 1), ("Rome", 2)), reads=frozenset({("sale", "city")}))
EMPTY = Table(("city",), ())


def table(*rows, reads=()):
    width = len(rows[0]) if rows else 1
    return Table(tuple("abcdef"[:width]), tuple(rows), reads=frozenset(reads))


def transition(
    shown, *golds, call_outcome=CallOutcome.OK, history=(), outcome=EpisodeOutcome.NO_SUBMISSION
):
    result = ToolResult("", call_outcome, shown)
    call = ToolCall("execute_sql", {"sql": "SELECT 1"})
    return Transition(Task("t", "d", "?"), golds, call, result, history, outcome)


def turn(shown, call_outcome=CallOutcome.OK):
    return Turn(None, ToolResult("", call_outcome, shown))


class TestExecutionMatch:
    @pytest.mark.parametrize("outcome", EpisodeOutcome)
    def test_pays_for_a_match_and_for_nothing_else(self, outcome):
        paid = execution_match(transition(GOLD, GOLD, outcome=outcome))
        assert paid == (1.0 if outcome is EpisodeOutcome.MATCH else 0.0)


class TestHardConstraints:
    BROKEN = {
        CallOutcome.MALFORMED: "mode",
        CallOutcome.NOT_ALLOWED: "read_only",
        CallOutcome.SQL_ERROR: "executes",
        CallOutcome.TIMEOUT: "executes",
        CallOutcome.DUPLICATE: "no_repeat",
        CallOutcome.NO_PROPOSAL: "order",
        CallOutcome.UNPROPOSED: "order",
        CallOutcome.OUT_OF_PHASE: "order",
    }

    @pytest.mark.parametrize("outcome", CallOutcome)
    def test_each_rule_that_is_broken_costs_one(self, outcome):
        fine = outcome not in self.BROKEN
        assert HardConstraints()(transition(None, call_outcome=outcome)) == (0.0 if fine else -1.0)

    @pytest.mark.parametrize(("outcome", "rule"), BROKEN.items())
    def test_a_rule_switched_off_costs_nothing_and_switches_off_no_other(self, outcome, rule):
        lenient = HardConstraints(**{rule: False})
        costs = {name: lenient(transition(None, call_outcome=name)) for name in self.BROKEN}
        assert costs == {name: 0.0 if self.BROKEN[name] == rule else -1.0 for name in self.BROKEN}


class TestCellRecall:
    @pytest.mark.parametrize(
        ("shown", "recall"),
        [
            (table(("Oslo", 1), ("Rome", 2)), 1.0),
            (table(("Oslo",), ("Rome",)), 0.5),  # 2 of the 4 cells Oslo, Rome, 1, 2
            (table(("Rome", "Rome", 7)), 0.25),
            (table((3.5, "Paris", None, b"Oslo")), 0.0),
            (table(), 0.0),
        ],
    )
    def test_is_the_share_of_distinct_gold_cells_shown(self, shown, recall):
        assert cell_recall(transition(shown, GOLD)) == recall

    @pytest.mark.parametrize(
        ("cell", "gold_cell", "same"),
        [
            ("  oSLO ", "Oslo", True),
            (1.0, 1, True),
            (0.1 + 0.2, 0.3, True),
            (1234567, 1234568, True),  # six significant digits
            (123456, 123457, False),
            (2.000001, 2.0, True),
            (2.00001, 2.0, False),
            ("1", 1, False),
            (None, None, True),
            (None, 0, False),
            (None, "", False),
            ("null", None, False),
            (b"a", b"a", True),
            (b"a", "a", False),
            (float("nan"), float("nan"), True),
            (float("inf"), float("inf"), True),
            (0, -0.0, True),
        ],
    )
    def test_compares_numbers_to_six_digits_and_text_without_case(self, cell, gold_cell, same):
        assert cell_recall(transition(table((cell,)), table((gold_cell,)))) == float(same)

    def test_is_best_over_the_golds(self):
        shown = table(("Oslo", 1))
        assert cell_recall(transition(shown, GOLD, table(("Oslo",)))) == 1.0
        assert cell_recall(transition(shown, GOLD, table(("Rome",)))) == 0.5

    def test_of_an_empty_gold_is_1_for_an_empty_result_only(self):
        assert cell_recall(transition(table(), EMPTY)) == 1.0
        assert cell_recall(transition(table(("Oslo",)), EMPTY)) == 0.0

    def test_without_a_gold_is_0(self):
        assert cell_recall(transition(GOLD)) == 0.0


class TestColumnRecall:
    @pytest.mark.parametrize(
        ("shown", "recall"),
        [
            (table(("Oslo", 1), ("Rome", 2)), 1.0),
            (table((2, "ROME"), (1, "oslo")), 1.0),
            (table(("Oslo", 2), ("Rome", 1)), 1.0),  # whole columns, whatever row they stand in
            (table(("Oslo", 1), ("Rome", 1)), 0.5),
            (table(("Oslo",), ("Rome",), ("Paris",)), 0.0),
            (table(("Oslo", "Rome", 1, 2)), 0.0),
            (table(), 0.0),
        ],
    )
    def test_is_the_share_of_gold_columns_shown_whole(self, shown, recall):
        assert column_recall(transition(shown, GOLD)) == recall

    def test_of_an_empty_gold_is_1_for_an_empty_result_only(self):
        assert column_recall(transition(table(), EMPTY)) == 1.0
        assert column_recall(transition(table(("Oslo",)), EMPTY)) == 0.0


class TestSchemaRecall:
    def test_is_the_share_of_gold_columns_read(self):
        gold = table((1,), reads=[("sale", "city"), ("sale", "id"), ("shop", "")])
        shown = table((1,), reads=[("sale", "city"), ("shop", ""), ("shop", "id")])
        assert schema_recall(transition(shown, gold)) == 2 / 3

    def test_of_a_gold_that_reads_nothing_is_0(self):
        assert schema_recall(transition(table((1,)), table((1,)))) == 0.0


class TestProgressRecall:
    def test_pays_each_gain_over_the_best_earlier_step_once(self):
        half, other, most = table(("Oslo", 1)), table(("Rome", 2)), table(("Oslo", 1, "Rome"))
        steps, history, paid = [half, other, most, GOLD, GOLD], (), []
        for shown in steps:
            paid.append(progress_recall(transition(shown, GOLD, history=history)))
            history += (turn(shown),)
        # cell recalls are 1/2, 1/2, 3/4, 1, 1
        assert paid == [0.5, 0.0, 0.25, 0.25, 0.0]

    def test_never_takes_back(self):
        history = (turn(GOLD),)
        assert progress_recall(transition(table(("Paris",)), GOLD, history=history)) == 0.0

    def test_does_not_count_what_earlier_failures_would_have_shown(self):
        history = (turn(GOLD, CallOutcome.DUPLICATE), turn(None, CallOutcome.SQL_ERROR))
        assert progress_recall(transition(GOLD, GOLD, history=history)) == 1.0


@pytest.mark.parametrize("recall", [cell_recall, column_recall, schema_recall, progress_recall])
class TestEveryRecall:
    @pytest.mark.parametrize("outcome", [CallOutcome.OK, CallOutcome.TRUNCATED])
    def test_pays_for_what_a_step_shows(self, recall, outcome):
        assert recall(transition(GOLD, GOLD, call_outcome=outcome)) == 1.0

    def test_pays_nothing_for_a_repeat_or_a_failure(self, recall):
        assert recall(transition(GOLD, GOLD, call_outcome=CallOutcome.DUPLICATE)) == 0.0
        assert recall(transition(None, GOLD, call_outcome=CallOutcome.SQL_ERROR)) == 0.0

    def test_pays_the_same_however_the_episode_ends(self, recall):
        for outcome in EpisodeOutcome:
            assert recall(transition(GOLD, GOLD, outcome=outcome)) == 1.0


class TestSchemes:
    TERMS = {"execution_match": 1.0, "hard_constraints": -1.0, "cell_recall": 0.5}

    def test_finestep_pays_the_outcome_and_a_tenth_of_the_process(self):
        scheme = SCHEMES["finestep"]
        assert scheme.outcome_sum(self.TERMS) == 1.0
        assert scheme.process_sum(self.TERMS) == -0.5
        assert scheme.scalar(self.TERMS) == 0.95

    def test_outcome_pays_the_outcome_alone(self):
        scheme = SCHEMES["outcome"]
        assert scheme.names == ("execution_match",)
        assert scheme.process_sum(self.TERMS) == 0.0
        assert scheme.scalar(self.TERMS) == 1.0

    def test_weights_and_scale_multiply(self):
        scheme = RewardScheme(
            {"execution_match": 2.0}, {"cell_recall": 3.0, "hard_constraints": 4.0}, 0.5
        )
        assert scheme.scalar(self.TERMS) == 2.0 * 1.0 + 0.5 * (3.0 * 0.5 - 4.0 * 1.0)

    def test_a_term_in_both_sums_is_one_term(self):
        scheme = RewardScheme({"cell_recall": 1.0}, {"cell_recall": 1.0, "hard_constraints": 1.0})
        assert scheme.names == ("cell_recall", "hard_constraints")

    def test_sums_of_no_terms_are_zero_and_floats(self):
        scheme = RewardScheme({}, {})
        assert (scheme.names, scheme.scalar({})) == ((), 0.0)
        assert isinstance(scheme.outcome_sum({}), float) and isinstance(scheme.scalar({}), float)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    path = tmp_path_factory.mktemp("shop") / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, city TEXT, price REAL)")
        rows = [("Oslo", 3.5), ("Rome", 2.0), ("Rome", 7.0)]
        connection.executemany("INSERT INTO sale (city, price) VALUES (?, ?)", rows)
        connection.commit()
    return path


CITIES = "SELECT city, count(*) FROM sale GROUP BY city"  # (Oslo, 1), (Rome, 2)
NAMES = ("execution_match", "hard_constraints", "cell_recall", "column_recall", "schema_recall",
         "progress_recall")  # fmt: skip


def paid(shop, *turns, gold=CITIES):
    """The raw terms of the last of these turns, in the order of `NAMES`."""
    task = {"task_id": "t", "database": shop, "question": "?", "gold_sql": gold}
    rewards = RewardScheme({}, dict.fromkeys(NAMES, 1.0))
    env = gym.make("Text2SQL-v0", tasks=[task], rewards=rewards)
    env.reset()
    for action in turns:
        _, _, _, _, info = env.step(action)
    env.close()
    return tuple(info["reward_terms"].values())


def call(sql):
    return FineStep.call("try", sql)


def answer(sql):
    return FineStep.answer("sure", sql)


DUMP = "SELECT * FROM sale"
CONSTANTS = "SELECT 'Oslo', 'Rome', 1, 2"
COPIED = "SELECT 'Oslo', 1 UNION ALL SELECT 'Rome', 2"
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT 99"


@pytest.mark.parametrize(
    ("turns", "terms"),
    [
        # match, hard, cell, column, schema, progress
        pytest.param([call(CITIES)], (0, 0, 1, 1, 1, 1), id="the gold query as a trial"),
        pytest.param([answer(CITIES)], (1, 0, 1, 1, 1, 1), id="the gold query"),
        pytest.param([call(DUMP)], (0, 0, 1, 0.5, 1, 1), id="SELECT *"),
        pytest.param([answer(DUMP)], (0, 0, 1, 0.5, 1, 1), id="SELECT * as the answer"),
        pytest.param([call(DUMP), call(DUMP)], (0, -1, 0, 0, 0, 0), id="a repeat"),
        pytest.param(
            [call(DUMP), call("select * from SALE; -- again")], (0, -1, 0, 0, 0, 0),
            id="a repeat with a comment",
        ),  # fmt: skip
        pytest.param(
            [call(DUMP), call("SELECT *, 1 FROM sale")], (0, 0, 1, 0.5, 1, 0),
            id="a repeat in other words: only progress sees through it",
        ),  # fmt: skip
        pytest.param([call(CONSTANTS)], (0, 0, 1, 0, 0, 1), id="guessed constants"),
        pytest.param([answer(CONSTANTS)], (0, 0, 1, 0, 0, 1), id="constants as the answer"),
        pytest.param([answer(COPIED)], (0, 0, 1, 1, 0, 1), id="the result written down"),
        pytest.param([call(NUMBERS)], (0, 0, 0.5, 0, 0, 0.5), id="all numbers"),
        pytest.param([call("SELECT city FROM sale WHERE 0")], (0, 0, 0, 0, 1, 0), id="no rows"),
        pytest.param([answer("-- nothing")], (0, -1, 0, 0, 0, 0), id="a comment"),
        pytest.param([answer("DELETE FROM sale")], (0, -1, 0, 0, 0, 0), id="a write"),
        pytest.param([answer("")], (0, -1, 0, 0, 0, 0), id="nothing as the answer"),
        pytest.param(["SELECT 1"], (0, -1, 0, 0, 0, 0), id="no call at all"),
    ],
)
def test_what_the_known_ways_to_game_a_reward_are_paid(shop, turns, terms):
    assert paid(shop, *turns) == terms


def test_any_empty_result_recalls_an_empty_gold_but_is_no_match_without_reading_a_table(shop):
    nowhere = "SELECT id FROM sale WHERE city = 'Paris'"
    assert paid(shop, call("SELECT 1 WHERE 0"), gold=nowhere) == (0, 0, 1, 1, 0, 1)
    assert paid(shop, answer("SELECT 1 WHERE 0"), gold=nowhere)[0] == 0
    assert paid(shop, answer("DELETE FROM sale"), gold=nowhere)[0] == 0


def test_dumping_a_table_in_every_turn_never_pays_as_much_as_a_right_answer(shop):
    task = {"task_id": "t", "database": shop, "question": "?", "gold_sql": CITIES}
    env = gym.make("Text2SQL-v0", tasks=[task])
    env.reset()
    total = sum(env.step(call(f"SELECT *, {turn} FROM sale"))[1] for turn in range(7))
    env.close()
    assert total == pytest.approx(0.7) and total < 1.0


class TestSchemaLinking:
    GOLD = SchemaItems.of(["Sale", "shop"], {"sale": ["city", "SHOP_ID"], "shop": ["id"]})

    def test_case_is_folded(self):
        assert self.GOLD.tables == {"sale", "shop"}
        assert ("sale", "shop_id") in self.GOLD.columns

    @pytest.mark.parametrize(
        ("proposed", "gold", "precision", "recall", "f1"),
        [
            ("ab", "ab", 1.0, 1.0, 1.0),
            ("abcd", "ab", 0.5, 1.0, 2 / 3),
            ("a", "ab", 1.0, 0.5, 2 / 3),
            ("c", "ab", 0.0, 0.0, 0.0),
            ("", "ab", 0.0, 0.0, 0.0),
            ("a", "", 0.0, 0.0, 0.0),
            ("", "", 1.0, 1.0, 1.0),
        ],
    )
    def test_overlap_by_hand(self, proposed, gold, precision, recall, f1):
        found = overlap(frozenset(proposed), frozenset(gold))
        assert (found.precision, found.recall) == (precision, recall)
        assert found.f1 == pytest.approx(f1)

    @pytest.mark.parametrize(
        ("mode", "score"),
        [
            # tables 2 of 2 and 1 too many: P 2/3, R 1, F1 4/5; columns 3 of 3, 1 too many: P 3/4
            ("total_match", 0.0),
            ("f1", 0.4 * 4 / 5 + 0.6 * 6 / 7),
            ("precision", 0.4 * 2 / 3 + 0.6 * 3 / 4),
            ("recall", 1.0),
            ("recall_then_precision", 0.4 * 2 / 3 + 0.6 * 3 / 4),
            ("recall_then_precision_strict", 0.4),  # precision 0.717 is at least 0.7
        ],
    )
    def test_modes_by_hand(self, mode, score):
        proposed = SchemaItems(
            self.GOLD.tables | {"staff"}, self.GOLD.columns | {("staff", "id")}
        )
        assert schema_score(proposed, self.GOLD, mode) == pytest.approx(score)
        assert schema_score(self.GOLD, self.GOLD, mode) == 1.0

    @pytest.mark.parametrize("mode", ["recall_then_precision", "recall_then_precision_strict"])
    def test_a_missing_item_pays_nothing_where_recall_comes_first(self, mode):
        proposed = SchemaItems(self.GOLD.tables, frozenset([("sale", "city")]))
        assert schema_score(proposed, self.GOLD, mode) == 0.0

    def test_proposing_everything_is_paid_in_full_by_recall_alone(self):
        everything = SchemaItems.of(
            ["sale", "shop", "x"], {t: ["city", "shop_id", "id"] for t in ("sale", "shop", "x")}
        )
        assert schema_score(everything, self.GOLD, "recall") == 1.0
        assert schema_score(everything, self.GOLD, "f1") < 0.7
        assert schema_score(everything, self.GOLD, "total_match") == 0.0


def test_the_registry_names_every_term_tested_here():
    assert set(REWARDS) == set(NAMES)

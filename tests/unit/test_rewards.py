"""Outcome, hard constraints, recall, schema scores and schemes, by hand."""

import dataclasses

import pytest

from text2sql_gym.rewards import SCHEMES, RewardScheme
from text2sql_gym.rewards.execution_match import execution_match
from text2sql_gym.rewards.hard_constraints import HardConstraints
from text2sql_gym.rewards.recall import (
    cell_f1,
    cell_recall,
    column_recall,
    progress_recall,
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
    CALL = ToolCall("execute_sql", {"sql": "SELECT 1"})
    BREAKS = [
        # (call, outcome, error), and the rules any of which forbids it
        ((None, CallOutcome.MALFORMED, "no JSON"), {"mode"}),
        ((CALL, CallOutcome.MALFORMED, "expected the arguments sql"), {"parse"}),
        ((CALL, CallOutcome.SQL_ERROR, 'near "SELEC": syntax error'), {"parse", "executes"}),
        ((CALL, CallOutcome.SQL_ERROR, "incomplete input"), {"parse", "executes"}),
        ((CALL, CallOutcome.SQL_ERROR, "no such column: x"), {"executes"}),
        ((CALL, CallOutcome.TIMEOUT, "too long"), {"executes"}),
        ((CALL, CallOutcome.NOT_ALLOWED, "not authorized"), {"read_only"}),
        ((CALL, CallOutcome.DUPLICATE, None), {"no_repeat"}),
        ((CALL, CallOutcome.NO_PROPOSAL, "first propose"), {"order"}),
        ((CALL, CallOutcome.UNPROPOSED, "not proposed"), {"order"}),
        ((CALL, CallOutcome.OUT_OF_PHASE, "not now"), {"order"}),
        ((CALL, CallOutcome.OK, None), set()),
        ((CALL, CallOutcome.TRUNCATED, None), set()),
    ]
    RULES = [field.name for field in dataclasses.fields(HardConstraints)]

    def test_every_outcome_of_a_call_is_judged_here(self):
        assert {turn[1] for turn, _ in self.BREAKS} == set(CallOutcome)

    @pytest.mark.parametrize(("turn", "rules"), BREAKS)
    def test_a_broken_rule_costs_one_where_it_is_on(self, turn, rules):
        call, outcome, error = turn
        step = Transition(Task("t", "d", "?"), (), call, ToolResult("", outcome, error=error))
        assert HardConstraints()(step) == (-1.0 if rules else 0.0)
        none = dict.fromkeys(self.RULES, False)
        costs = {rule: HardConstraints(**none | {rule: True})(step) for rule in self.RULES}
        assert costs == {rule: -1.0 if rule in rules else 0.0 for rule in self.RULES}

    def test_the_last_turn_must_submit(self):
        step = transition(GOLD, GOLD)
        last = dataclasses.replace(step, last=True)
        submitted = dataclasses.replace(last, result=dataclasses.replace(step.result, final=True))
        paid = [HardConstraints()(each) for each in (step, last, submitted)]
        assert paid == [0.0, -1.0, 0.0]
        assert HardConstraints(submits=False)(last) == 0.0


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


@pytest.mark.parametrize("recall", [cell_recall, cell_f1, column_recall, progress_recall])
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


class TestSchemaScore:
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

    @pytest.mark.parametrize(
        ("needed", "score"), [(10, 1.0), (9, 0.8), (7, 0.6), (6, 0.4), (4, 0.2), (1, 0.1)]
    )
    def test_the_strict_mode_falls_in_six_steps(self, needed, score):
        # the table is right: precision 0.4 + 0.6 * needed / 10, so 1, 0.94, 0.82, 0.76, 0.64, 0.46
        columns = list("abcdefghij")
        proposed, gold = (
            SchemaItems.of(["t"], {"t": names}) for names in (columns, columns[:needed])
        )
        assert schema_score(proposed, gold, "recall_then_precision_strict") == score

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

"""The rules of single matchers, with numbers by hand."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from text2sql_gym.backends import open_backend
from text2sql_gym.errors import GoldError
from text2sql_gym.matching import Gold
from text2sql_gym.matching.cells import cells_of, same_cell, snapped, snapping
from text2sql_gym.matching.columns import arrangements
from text2sql_gym.matching.ordering import segments_of
from text2sql_gym.matching.r_ves import efficiency_score
from text2sql_gym.matching.soft_f1 import SoftF1
from text2sql_gym.matching.spider_test_suite import SpiderTestSuite, repaired, without_distinct
from text2sql_gym.matching.strict import Strict
from text2sql_gym.types import Limits, Table

STAFF = """
CREATE TABLE staff(id INTEGER PRIMARY KEY, name TEXT, dept TEXT, age INTEGER, pay REAL);
INSERT INTO staff VALUES (1,'Ann','HR',30,5.0), (2,'bob','IT',40,6.5), (3,'Bob','IT',25,6.5),
  (4,'Dan','HR',40,NULL), (5,'Eve','OPS',35,7.25), (6,'Ann','OPS',30,1.1);
"""


@pytest.fixture(scope="module")
def staff(open_database):
    return open_database(STAFF)


def groups(sql, database):
    """Return [(how many of, which rows)] for one-column results."""
    table = database.execute(sql, max_rows=100)
    parts = segments_of(sql, table, database, Limits(), 1e-9)
    return [
        (part.count, sorted("-" if row[0] is None else str(row[0]) for row in part.rows))
        for part in parts
    ]


class TestOrder:
    def test_without_order_all_rows_are_one_group(self, staff):
        assert groups("SELECT name FROM staff WHERE id < 3", staff) == [(2, ["Ann", "bob"])]

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT id FROM staff WHERE id < 4 AND name <> 'order by'",
            "SELECT id FROM (SELECT * FROM staff ORDER BY age LIMIT 9) WHERE id < 4",
            "WITH s AS (SELECT * FROM staff ORDER BY age) SELECT id FROM s WHERE id < 4",
            "SELECT id FROM staff WHERE id IN (SELECT id FROM staff ORDER BY id LIMIT 3)",
        ],
    )
    def test_an_order_below_the_top_level_asks_for_nothing(self, sql, staff):
        assert groups(sql, staff) == [(3, ["1", "2", "3"])]

    @pytest.mark.parametrize(
        "key",
        ["age", "2", "years", "staff.age", "s.age * 2", "age, dept = 'nowhere'", "abs(years)"],
    )
    def test_a_key_may_be_a_column_a_number_an_alias_or_an_expression(self, key, staff):
        table = "staff" if key == "staff.age" else "staff s"
        assert groups(f"SELECT id, age AS years FROM {table} ORDER BY {key}", staff) == [
            (1, ["3"]),
            (2, ["1", "6"]),
            (1, ["5"]),
            (2, ["2", "4"]),
        ]

    def test_a_key_that_is_not_selected_is_fetched(self, staff):
        assert groups("SELECT name FROM staff ORDER BY age DESC, pay", staff) == [
            (1, ["Dan"]),
            (1, ["bob"]),
            (1, ["Eve"]),
            (1, ["Ann"]),
            (1, ["Ann"]),
            (1, ["Bob"]),
        ]

    def test_groups_are_sorted_by_their_aggregates(self, staff):
        sql = "SELECT dept FROM staff GROUP BY dept ORDER BY COUNT(*), MAX(age) > 35"
        assert groups(sql, staff) == [(1, ["OPS"]), (2, ["HR", "IT"])]

    def test_a_set_operation_is_sorted_by_its_columns(self, staff):
        sql = "SELECT age FROM staff WHERE id = 2 UNION ALL SELECT age FROM staff ORDER BY age DESC"
        assert groups(sql, staff) == [
            (3, ["40", "40", "40"]),
            (1, ["35"]),
            (2, ["30", "30"]),
            (1, ["25"]),
        ]

    def test_its_columns_are_those_of_the_first_query(self, staff):
        sql = "SELECT s.age FROM staff s WHERE id = 2 UNION ALL SELECT 1 FROM staff ORDER BY age"
        assert groups(sql, staff) == [(6, ["1"] * 6), (1, ["40"])]

    def test_a_star_before_an_alias_is_counted(self, staff):
        sql = "SELECT *, age > 30 AS old FROM staff WHERE id < 4 ORDER BY old"
        assert groups(sql, staff) == [(2, ["1", "3"]), (1, ["2"])]

    def test_a_result_that_is_not_of_the_query_stands_as_it_is(self, staff):
        sql, rows = "SELECT id FROM staff ORDER BY age LIMIT 2", ((5,), (3,))
        parts = segments_of(sql, Table(("id",), rows), staff, Limits(), 1e-9)
        assert [(part.count, part.rows) for part in parts] == [(1, ((5,),)), (1, ((3,),))]

    def test_in_an_expression_a_column_comes_before_an_alias_of_its_name(self, staff):
        sql = "SELECT id, -age AS pay FROM staff WHERE id <> 4 ORDER BY pay + 0"
        assert groups(sql, staff) == [(1, ["6"]), (1, ["1"]), (2, ["2", "3"]), (1, ["5"])]

    def test_in_an_expression_a_quoted_alias_is_no_text(self, staff):
        sql = 'SELECT id, -age AS years FROM staff WHERE id <> 4 ORDER BY "years" + 0'
        assert groups(sql, staff) == [(1, ["2"]), (1, ["5"]), (2, ["1", "6"]), (1, ["3"])]

    def test_an_alias_hides_a_column_of_its_name(self, staff):
        sql = "SELECT id, -age AS pay FROM staff WHERE id <> 5 ORDER BY pay"
        assert groups(sql, staff) == [(2, ["2", "4"]), (2, ["1", "6"]), (1, ["3"])]

    def test_nulls_tie(self, staff):
        sql = "SELECT id FROM staff ORDER BY pay > 100"
        assert groups(sql, staff) == [(1, ["4"]), (5, ["1", "2", "3", "5", "6"])]

    def test_keys_tie_within_rounding_noise(self, staff):
        sql = "SELECT id FROM staff WHERE id < 3 ORDER BY iif(id = 1, 0.1 + 0.2, 0.3)"
        assert groups(sql, staff) == [(2, ["1", "2"])]

    def test_a_key_without_case_ties_without_case(self, staff):
        sql = "SELECT name FROM staff WHERE dept = 'IT' ORDER BY name"
        assert groups(sql, staff) == [(1, ["Bob"]), (1, ["bob"])]
        assert groups(sql + " COLLATE NOCASE", staff) == [(2, ["Bob", "bob"])]

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT DISTINCT dept FROM staff ORDER BY age",
            "SELECT DISTINCT dept FROM staff ORDER BY age LIMIT 2",
            "SELECT id FROM staff ORDER BY age LIMIT 2 OFFSET (SELECT 1)",
        ],
    )
    def test_where_keys_cannot_be_had_every_row_stands_alone(self, sql, staff):
        assert all(count == 1 and len(rows) == 1 for count, rows in groups(sql, staff))


class TestLimit:
    def test_a_cut_tie_offers_all_its_members(self, staff):
        assert groups("SELECT name FROM staff ORDER BY age DESC LIMIT 1", staff) == [
            (1, ["Dan", "bob"])
        ]
        assert groups("SELECT id FROM staff ORDER BY age LIMIT 2", staff) == [
            (1, ["3"]),
            (1, ["1", "6"]),
        ]

    def test_an_offset_cuts_ties_at_both_ends(self, staff):
        assert groups("SELECT id FROM staff ORDER BY age LIMIT 3 OFFSET 2", staff) == [
            (1, ["1", "6"]),
            (1, ["5"]),
            (1, ["2", "4"]),
        ]

    def test_a_limit_without_order_offers_all_rows(self, staff):
        assert groups("SELECT id FROM staff LIMIT 2", staff) == [
            (2, ["1", "2", "3", "4", "5", "6"])
        ]

    def test_a_limit_beyond_the_end_changes_nothing(self, staff):
        assert groups("SELECT id FROM staff WHERE id < 3 LIMIT 9", staff) == [(2, ["1", "2"])]

    def test_a_tie_longer_than_the_first_look_is_found_whole(self, open_database):
        many = open_database(
            "CREATE TABLE t(n INTEGER, k INTEGER); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL"
            " SELECT n + 1 FROM c WHERE n < 500) INSERT INTO t SELECT n, n > 300 FROM c"
        )
        (part,) = groups("SELECT n FROM t ORDER BY k LIMIT 1", many)
        assert part[0] == 1 and len(part[1]) == 300

    def test_every_tied_row_is_a_right_answer_and_no_other(self, staff, judge):
        gold = "SELECT name FROM staff ORDER BY age DESC LIMIT 1"
        answers = {
            name: judge(Strict(variants=0), gold, f"SELECT name FROM staff WHERE id = {key}", staff)
            for key, name in enumerate(("Ann", "bob", "Bob", "Dan", "Eve"), 1)
        }
        assert answers == {"Ann": 0.0, "bob": 1.0, "Bob": 0.0, "Dan": 1.0, "Eve": 0.0}

    def test_columns_may_be_permuted_in_a_cut_tie(self, staff, judge):
        gold = "SELECT name, age FROM staff ORDER BY age DESC LIMIT 1"
        right, wrong = (f"SELECT age, name FROM staff WHERE id = {key}" for key in (4, 5))
        assert judge(Strict(variants=0), gold, right, staff) == 1.0
        assert judge(Strict(variants=0), gold, wrong, staff) == 0.0

    def test_a_tied_row_may_not_be_taken_twice(self, staff, judge):
        gold = "SELECT id FROM staff WHERE dept <> 'OPS' ORDER BY dept = 'x' LIMIT 2"
        twice = "SELECT 1 FROM staff LIMIT 2"
        assert judge(Strict(variants=0), gold, "SELECT id FROM staff LIMIT 2", staff) == 1.0
        assert judge(Strict(variants=0), gold, twice, staff) == 0.0


class TestCells:
    @pytest.mark.parametrize(
        ("left", "right", "same"),
        [
            (None, None, True), (None, 0, False), (None, "", False), ("1", 1, False),
            ("a", "A", False), ("a", "a ", False), (b"a", "a", False), (b"a", b"a", True),
            (1, 1.0, True), (6, 6.000000000000001, True), (6, 6.001, False),
            (2**53 + 1, 2.0**53, False), (2**53, 2.0**53, True), (2**53, 2**53 + 1, False),
            (0.1 + 0.2, 0.3, True), (0.001, 0.009, False), (123456789.0, 123456800.0, False),
            (1e17 + 16, 1e17, True), (math.inf, math.inf, True), (math.inf, 1e308, False),
            (1.0, -1.0, False), (0.0, -0.0, True), (1e-300, 0.0, False),
        ],
    )  # fmt: skip
    def test_which_cells_are_the_same(self, left, right, same):
        assert same_cell(left, right, 1e-9) is same
        assert same_cell(right, left, 1e-9) is same

    def test_numbers_move_to_the_smallest_of_their_kind(self):
        low, high = 0.3, 0.1 + 0.2
        assert snapping([high, low, 5, 7.5], 1e-9) == {high: low}

    def test_every_nan_is_the_same(self):
        one, other = float("nan"), float("nan")
        moved = snapping(cells_of([(one, 1)]) | cells_of([(other, 2)]), 1e-9)
        assert snapped([(one, 1)], moved) == snapped([(other, 1)], moved)

    def test_two_integers_never_become_one(self):
        assert snapping([2**53, 2**53 + 1, 10**12, 10**12 + 1], 1e-9) == {}

    def test_groups_of_numbers_do_not_grow_into_chains(self):
        steps = [1 + n * 0.8e-9 for n in range(4)]
        assert snapping(steps, 1e-9) == {steps[1]: steps[0], steps[3]: steps[2]}

    def test_a_value_on_a_rounding_boundary_is_still_itself(self, staff, judge):
        # nine digits would round one of them up and the other down
        assert judge(Strict(), "SELECT 12345678.905", "SELECT 12345678.904999999", staff) == 1.0


class TestColumns:
    def test_the_given_order_comes_first(self):
        rows = [(1, 2), (2, 1)]
        assert list(arrangements(rows, rows, 9)) == [(0, 1), (1, 0)]

    def test_a_column_with_a_foreign_value_stands_for_nothing(self):
        assert list(arrangements([(1, "a"), (2, "b")], [("a", 1), ("b", 3)], 9)) == []

    def test_no_more_than_asked_for_are_listed(self):
        assert len(list(arrangements([(1,) * 6], [(1,) * 6], 120))) == 120

    def test_permuted_columns_beyond_the_cap_are_not_found(self, staff, judge):
        gold = "SELECT 1, 2 UNION ALL SELECT 2, 3 UNION ALL SELECT 3, 1"
        predicted = "SELECT 2, 1 UNION ALL SELECT 3, 2 UNION ALL SELECT 1, 3"
        assert judge(Strict(), gold, predicted, staff) == 1.0
        assert judge(Strict(max_arrangements=1), gold, predicted, staff) == 0.0


class TestReads:
    def test_a_constant_is_no_answer_to_a_question_about_data(self, staff, judge):
        assert judge(Strict(variants=0), "SELECT COUNT(*) FROM staff", "SELECT 6", staff) == 0.0
        assert judge(Strict(variants=0), "SELECT 6", "SELECT 3 + 3", staff) == 1.0

    def test_nothing_is_asked_where_the_gold_query_reads_nothing(self, staff):
        matcher, limits, unread = Strict(), Limits(), Table(("n",), ((6,),))
        gold = Gold("SELECT 6", unread, matcher.prepare("SELECT 6", staff, limits).prepared)
        assert matcher("SELECT 6", unread, gold, staff, limits) == 1.0


@pytest.mark.parametrize("engine", ["duckdb"])
def test_another_engine_is_read_in_its_own_dialect(engine, tmp_path, judge):
    duckdb = pytest.importorskip(engine, reason="needs the extra 'duckdb'")
    with closing(duckdb.connect(str(tmp_path / "staff.duckdb"))) as connection:
        connection.execute("CREATE TABLE t(n INTEGER, k INTEGER)")
        connection.execute("INSERT INTO t VALUES (1, 7), (2, 7), (3, 5)")
    database = open_backend(f"duckdb:///{tmp_path}/staff.duckdb", Limits())
    gold = "SELECT n::TEXT FROM t ORDER BY k::DOUBLE DESC LIMIT 1"
    answers = [f"SELECT n::TEXT FROM t WHERE n = {n}" for n in (1, 2, 3)]
    assert [judge(Strict(), gold, answer, database) for answer in answers] == [1.0, 1.0, 0.0]
    assert judge(Strict(), gold, "SELECT '1'", database) == 0.0
    database.close()


class TestSoftF1:
    @pytest.mark.parametrize(
        ("gold", "predicted", "expected"),
        [
            ("SELECT 1, 2", "SELECT 2, 1", 1.0),
            ("SELECT 1, 2", "SELECT 1, 3", 0.5),  # tp 1/2, fp 1/2, fn 1/2
            ("SELECT 1, 2", "SELECT 1", 2 / 3),  # tp 1/2, fp 0, fn 1/2
            ("SELECT 1 UNION ALL SELECT 1", "SELECT 1", 1.0),
            ("SELECT 1 UNION ALL SELECT 2", "SELECT 2 UNION ALL SELECT 1", 0.0),
            ("SELECT 1 UNION ALL SELECT 2", "SELECT 1", 2 / 3),  # tp 1, fn 1
            ("SELECT 1", "SELECT 1 UNION ALL SELECT 2", 2 / 3),  # tp 1, fp 1
            ("SELECT 1 WHERE 0", "SELECT 2 WHERE 0", 1.0),
            ("SELECT 1 WHERE 0", "SELECT 2", 0.0),
        ],
    )
    def test_scores_by_hand(self, gold, predicted, expected, staff, judge):
        assert judge(SoftF1(), gold, predicted, staff) == pytest.approx(expected)


class TestEfficiency:
    @pytest.mark.parametrize(
        ("ratios", "score"),
        [
            ([2.0] * 5, 1.25), ([1.99] * 5, 1.0), ([1.0] * 5, 1.0), ([0.99] * 5, 0.75),
            ([0.5], 0.75), ([0.49], 0.5), ([0.25], 0.5), ([0.24], 0.25),
            ([1.0] * 99 + [1000.0], 1.0),  # one ratio beyond three standard deviations
        ],
    )  # fmt: skip
    def test_the_mean_ratio_falls_into_steps(self, ratios, score):
        assert efficiency_score(ratios) == score


class TestTestSuite:
    def test_the_word_distinct_is_taken_out_and_nothing_else(self):
        sql = "SELECT DISTINCT a, COUNT(distinct b) FROM t WHERE c = 'distinct' -- distinct"
        assert without_distinct(sql) == (
            "SELECT  a, COUNT( b) FROM t WHERE c = 'distinct' -- distinct"
        )

    def test_split_operators_and_the_current_year_are_repaired(self):
        assert repaired("a > = 1 AND b ! = YEAR(CURDATE()) - 1") == "a >= 1 AND b != 2020- 1"

    def test_cells_are_compared_exactly_and_rows_first_as_text(self, staff, judge):
        assert judge(SpiderTestSuite(), "SELECT 0.3", "SELECT 0.1 + 0.2", staff) == 0.0
        assert judge(SpiderTestSuite(), "SELECT 1", "SELECT 1.0", staff) == 1.0
        assert judge(SpiderTestSuite(), "SELECT 1, 10", "SELECT 1.0, 10", staff) == 0.0

    def test_order_by_anywhere_in_the_gold_text_asks_for_that_order(self, staff, judge):
        gold = "SELECT name FROM staff WHERE name <> 'order by'"
        assert judge(SpiderTestSuite(), gold, gold + " ORDER BY id", staff) == 1.0
        assert judge(SpiderTestSuite(), gold, gold + " ORDER BY id DESC", staff) == 0.0

    @pytest.fixture
    def suite(self, open_database, tmp_path):
        """Return a database named t.sqlite, and a function that adds one to its suite."""

        def add(script: str) -> None:
            (tmp_path / "t").mkdir(exist_ok=True)
            other = Path(open_database(script).url.removeprefix("sqlite:///"))
            (tmp_path / "t" / f"{len(list(tmp_path.glob('t/*')))}.sqlite").symlink_to(other)

        return open_database("CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 1)", "t.sqlite"), add

    def test_results_must_agree_on_every_database_of_the_folder(self, suite, tmp_path, judge):
        main, add = suite
        add("CREATE TABLE t(a, b); INSERT INTO t VALUES (5, 5)")
        add("CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 2)")
        alone, together = SpiderTestSuite(), SpiderTestSuite(folder=str(tmp_path))
        assert judge(alone, "SELECT a FROM t", "SELECT b FROM t", main) == 1.0
        assert judge(together, "SELECT a FROM t", "SELECT b FROM t", main) == 0.0
        assert judge(together, "SELECT a FROM t", "SELECT a * 1 FROM t", main) == 1.0

    def test_a_prediction_that_fails_on_one_database_is_wrong(self, suite, tmp_path, judge):
        main, add = suite
        add("CREATE TABLE t(a); INSERT INTO t VALUES (1)")
        matcher = SpiderTestSuite(folder=str(tmp_path))
        assert judge(matcher, "SELECT a FROM t", "SELECT a FROM t WHERE t.b = t.b", main) == 0.0

    def test_a_gold_query_that_fails_on_one_database_is_a_fault(self, suite, tmp_path):
        main, add = suite
        add("CREATE TABLE unlike(a)")
        with pytest.raises(GoldError, match="no such table: t"):
            SpiderTestSuite(folder=str(tmp_path)).prepare("SELECT a FROM t", main, Limits())

    def test_a_folder_with_the_name_of_the_database_is_its_suite(self, tmp_path, judge):
        (tmp_path / "shop").mkdir()
        for name, b in (("shop", 1), ("shop2", 2)):
            with closing(sqlite3.connect(tmp_path / "shop" / f"{name}.sqlite")) as connection:
                connection.executescript(f"CREATE TABLE t(a, b); INSERT INTO t VALUES (1, {b})")
        main = open_backend(str(tmp_path / "shop" / "shop.sqlite"), Limits())
        assert judge(SpiderTestSuite(), "SELECT a FROM t", "SELECT b FROM t", main) == 0.0
        main.close()

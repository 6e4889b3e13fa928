"""A copy on which an empty gold query has rows, so that other empty results are told apart."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import gymnasium as gym
import pytest

from text2sql_gym.errors import DatasetError
from text2sql_gym.matching import MATCHERS
from text2sql_gym.matching import variants as variants_module
from text2sql_gym.matching.perturb import Reference, Relation
from text2sql_gym.matching.strict import Strict
from text2sql_gym.matching.variants import witness_of
from text2sql_gym.matching.witness import filled, literals_of, planted, through_references
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.types import Column, Limits, TableSchema

SHOP = """
CREATE TABLE shop(id INTEGER PRIMARY KEY, city TEXT, opened TEXT);
CREATE TABLE sale(id INTEGER PRIMARY KEY, shop INTEGER REFERENCES shop(id), price REAL,
                  kind TEXT NOT NULL, note TEXT);
CREATE TABLE void(a INTEGER, b TEXT, c REAL, d DATE);
INSERT INTO shop VALUES (1,'Oslo','2011-02-03'), (2,'Rome','2012-05-06'), (3,'Bern','2013-01-01');
INSERT INTO sale VALUES (1,1,2.5,'pen',NULL), (2,1,3.0,'ink',NULL), (3,2,9.5,'pen','x'),
  (4,3,1.25,'pad',NULL), (5,2,2.5,'cup','y');
"""
SCHEMA = (
    TableSchema("Shop", tuple(Column(name, "TEXT") for name in ("id", "City", "opened"))),
    TableSchema("sale", (Column("shop", "INTEGER"), Column("price", "REAL"))),
)
EMPTY = [
    "SELECT kind FROM sale WHERE price > 100",
    "SELECT kind FROM sale WHERE price > 100 AND kind = 'vase'",
    "SELECT kind FROM sale WHERE price BETWEEN 50 AND 60",
    "SELECT kind FROM sale WHERE kind LIKE '%teapot%'",
    "SELECT kind FROM sale WHERE kind IN ('jug', 'mug') AND note IS NULL",
    "SELECT kind FROM sale WHERE lower(kind) = 'vase'",
    "SELECT kind FROM sale WHERE id = 77",
    "SELECT kind FROM sale WHERE shop = 9",
    "SELECT s.kind FROM sale s JOIN shop ON shop.id = s.shop WHERE shop.city = 'Paris'",
    "SELECT s.kind FROM sale s, shop h WHERE h.id = s.shop AND h.city = 'Paris' AND price > 50",
    "SELECT city FROM shop WHERE opened > '2020-01-01'",
    "SELECT city FROM shop WHERE strftime('%Y', opened) = '1999'",
    "SELECT city FROM shop WHERE id IN (SELECT shop FROM sale WHERE price > 100)",
    "SELECT kind FROM sale GROUP BY kind HAVING COUNT(*) > 5",
    'SELECT kind FROM sale WHERE kind = "vase"',
    "SELECT city FROM shop GROUP BY city HAVING COUNT(*) >= 2",
    "SELECT kind FROM sale WHERE price < 2 INTERSECT SELECT kind FROM sale WHERE price > 99",
    "SELECT b FROM void",
    "SELECT b FROM void WHERE a > 3 AND d > '2015-01-01' ORDER BY c",
    "SELECT kind FROM sale WHERE price > 100 EXCEPT SELECT b FROM void WHERE a = 99",
    "WITH q AS (SELECT kind FROM sale WHERE price = -4) SELECT kind FROM q",
]
LUCKY = ["SELECT kind FROM sale WHERE 0", "SELECT city FROM shop WHERE city = 'x'"]


@pytest.fixture(scope="module")
def shop(open_database):
    return open_database(SHOP)


@pytest.fixture(scope="module")
def path(shop) -> Path:
    return Path(shop.url.removeprefix("sqlite:///"))


class TestLiteralsOf:
    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            ("city = 'Rome'", {("city", "Rome")}),
            ("'Rome' <> City", {("city", "Rome")}),
            ("id > 5", {("id", 4), ("id", 5), ("id", 6)}),
            ("id < -2.5", {("id", -3.5), ("id", -2.5), ("id", -1.5)}),
            ("id BETWEEN 2 AND 2", {("id", 1), ("id", 2), ("id", 3)}),
            ("id NOT IN (7)", {("id", 6), ("id", 7), ("id", 8)}),
            ("city LIKE '%o_o%'", {("city", "oao")}),
            ("city IS NULL", {("city", None)}),
            ("upper(city) = 'ROME'", {("city", "ROME")}),
            ("strftime('%Y', opened) = '1999'", {("opened", "1999-06-15"), ("opened", "1999")}),
            ("strftime('%Y-%m', opened) = '1999-02'",
             {("opened", "1999-02-15"), ("opened", "1999-02")}),
            ("opened < '2000-01-31'",
             {("opened", "1001-01-01"), ("opened", "9001-01-01"), ("opened", "2000-01-31")}),
            ('city = "Rome"', {("city", "Rome")}),
            ('city = "Opened"', set()),
            ("1 GROUP BY city", {("city", 7)}),
            ("1 INTERSECT SELECT city FROM shop", {("city", 7)}),
            ("1 UNION SELECT city FROM shop", set()),
            ("city = opened", set()),
            ("1", set()),
        ],
    )  # fmt: skip
    def test_of_one_condition(self, condition, expected):
        found = literals_of(f"SELECT 1 FROM shop WHERE {condition}", SCHEMA)
        assert {(column, value) for table, column, value in found} == expected
        assert {table for table, _, _ in found} <= {"shop"}

    def test_aliases_and_subqueries_are_seen_through(self):
        sql = "SELECT 1 FROM shop x WHERE x.id IN (SELECT shop FROM sale WHERE price = 0.5)"
        assert literals_of(sql, SCHEMA) == (
            ("sale", "price", -0.5), ("sale", "price", 0.5), ("sale", "price", 1.5),
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("literal", "values"), [("5", [4, 5, 6]), ("5.0", [4, 5, 6]), ("0.5", [-0.5, 0.5, 1.5])]
    )
    def test_whole_numbers_are_integers_since_a_text_column_tells_5_from_5_0(self, literal, values):
        found = [value for *_, value in literals_of(f"SELECT 1 FROM shop WHERE city = {literal}",
                                                    SCHEMA)]
        assert sorted(map(repr, found)) == sorted(map(repr, values))

    def test_what_cannot_be_read_compares_nothing(self):
        assert literals_of("SELEC", SCHEMA) == ()


class TestPlanting:
    SALE = Relation(
        "Sale", ("ID", "Shop", "Kind"), tuple((n, 1, "pen") for n in range(1, 31)), keys=((0,),),
        references=(Reference((1,), "shop", (0,)),),
    )  # fmt: skip
    PLACES = Relation("Shop", ("Key", "City"), ((1, "Oslo"), (2, "Rome")), keys=((0,),))

    def test_values_of_several_columns_meet_in_about_six_of_ten_rows(self):
        literals = (("sale", "kind", "vase"), ("sale", "shop", 9), ("other", "kind", "jug"))
        rows = planted(self.SALE, literals, random.Random(0)).rows
        assert {row[1:] for row in rows} == {(1, "pen"), (9, "vase")}
        assert 12 <= sum(row[2] == "vase" for row in rows) <= 24

    def test_a_key_has_each_value_once_also_one_that_was_there(self):
        literals = (("sale", "id", 7), ("sale", "id", 77))
        keys = planted(self.SALE, literals, random.Random(0)).column(0)
        assert len(set(keys)) == len(keys) == 30 and 77 in keys

    def test_a_key_that_is_looked_for_in_a_reference_is_wanted_on_its_other_side(self):
        database = {"sale": self.SALE, "shop": self.PLACES}
        literals = (("sale", "shop", 9), ("sale", "kind", "vase"))
        assert set(through_references(database, literals)) == {*literals, ("shop", "key", 9)}

    def test_a_reference_that_is_looked_for_because_it_is_missing_wants_no_key(self):
        database = {"sale": self.SALE, "shop": self.PLACES}
        assert through_references(database, (("sale", "shop", None),)) == (("sale", "shop", None),)

    def test_an_empty_table_is_filled_by_the_types_of_its_columns(self):
        types = ("INTEGER", "decimal(9,2)", "DATE", "VARCHAR(9)", "")
        empty = Relation("void", ("a", "b", "c", "d", "e"), (), types=types)
        made = filled({"void": empty, "shop": self.PLACES})
        assert made["shop"] is self.PLACES
        assert made["void"].rows[:2] == (
            (1, 1.5, "2010-01-01", "d 1", "e 1"), (2, 2.5, "2010-01-02", "d 2", "e 2"),
        )  # fmt: skip


class TestWitness:
    @pytest.mark.parametrize("gold", EMPTY)
    def test_an_empty_gold_has_rows_elsewhere_and_refuses_the_lucky(self, gold, shop, judge):
        assert not shop.execute(gold, max_rows=9).rows
        assert Strict().prepare(gold, shop, Limits(seconds=60)).rows_elsewhere
        assert judge(Strict(), gold, gold, shop) == 1.0
        for lucky in LUCKY:
            assert judge(Strict(), gold, lucky, shop) == 0.0
            assert judge(Strict(variants=0, witness="never"), gold, lucky, shop) == 1.0

    @pytest.mark.parametrize(
        ("gold", "other"),
        [
            (EMPTY[0], "SELECT kind FROM sale WHERE NOT price <= 100"),
            (EMPTY[2], "SELECT kind FROM sale WHERE price >= 50 AND price <= 60"),
            (EMPTY[8], "SELECT kind FROM shop x, sale WHERE shop = x.id AND 'Paris' IN (city)"),
            (EMPTY[10], "SELECT city FROM shop WHERE '2020-01-01' < opened ORDER BY city"),
            ("SELECT b FROM void", "SELECT b FROM void WHERE 1"),
        ],
    )
    def test_the_same_meaning_in_other_words_is_right(self, gold, other, shop, judge):
        assert judge(Strict(), gold, other, shop) == 1.0

    def test_a_query_that_can_have_no_rows_equals_every_empty_one(self, shop, judge):
        gold = "SELECT kind FROM sale WHERE price > 5 AND price < 5"
        assert not Strict().prepare(gold, shop, Limits()).rows_elsewhere
        assert judge(Strict(), gold, LUCKY[0], shop) == 1.0

    def test_another_copy_is_tried_where_the_gold_finds_nothing_on_the_first(self, shop, judge):
        gold = "SELECT kind FROM sale WHERE id = 77 AND price > 100"
        seeds = [Strict(seed=seed).prepare(gold, shop, Limits()).prepared.witness[1]
                 for seed in (0, 1)]
        assert seeds == [1, 1]  # that of seed 0 has the key in a row with another price
        assert judge(Strict(), gold, gold, shop) == 1.0
        assert judge(Strict(), gold, LUCKY[0], shop) == 0.0

    def test_tables_and_columns_are_found_in_any_case(self, open_database, judge):
        trade = open_database(
            "CREATE TABLE Trade(Id INTEGER PRIMARY KEY, Sort TEXT, Price REAL);"
            "INSERT INTO Trade VALUES (1, 'pen', 2.5), (2, 'ink', 3.0);"
        )
        gold = "SELECT id FROM TRADE WHERE sort = 'quill' AND PRICE > 900"
        assert Strict().prepare(gold, trade, Limits()).rows_elsewhere
        assert judge(Strict(), gold, "SELECT Id FROM Trade WHERE Sort = 'vase'", trade) == 0.0
        assert judge(Strict(), gold, gold.lower(), trade) == 1.0

    def test_the_original_is_not_touched_and_the_copy_is_repeatable(self, path):
        before = hashlib.sha256(path.read_bytes()).digest()
        literals = (("sale", "id", 77), ("sale", "price", 101.0))
        (first,) = witness_of(path, literals, 3)
        rows = self.rows(first)
        assert witness_of(path, literals, 3) == (first,)
        variants_module._witnesses.clear()  # as in another process
        assert self.rows(witness_of(path, literals, 3)[0]) == rows
        assert self.rows(witness_of(path, literals, 4)[0]) != rows
        assert hashlib.sha256(path.read_bytes()).digest() == before

    def test_keys_and_references_hold(self, path):
        literals = (("sale", "id", 77), ("sale", "shop", 9), ("sale", "price", 101.0))
        (copy,) = witness_of(path, literals, 0)
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            count = connection.execute("SELECT COUNT(*), COUNT(DISTINCT id) FROM sale").fetchone()
            planted = connection.execute("SELECT COUNT(*) FROM sale WHERE shop = 9").fetchone()
        assert count[0] == count[1] >= 40 and planted[0] >= 10

    @staticmethod
    def rows(copy: Path) -> list[tuple]:
        with closing(sqlite3.connect(copy)) as connection:
            return connection.execute("SELECT * FROM sale").fetchall()

    def test_always_tells_apart_what_differs_at_a_literal_only(self, shop, judge):
        pairs = [
            ("price > 2.75", "price > 2.5"),
            ("price > 2.5", "price > 2.9"),
            ("kind = 'pen'", "kind LIKE 'pen%' OR kind = 'quill'"),
        ]
        for gold, other in pairs[:2]:
            sqls = [f"SELECT COUNT(*) FROM sale WHERE {one}" for one in (gold, other)]
            assert judge(Strict(variants=0, witness="never"), *sqls, shop) == 1.0
            assert judge(Strict(variants=0, witness="always"), *sqls, shop) == 0.0

    def test_an_unknown_choice_is_refused(self):
        with pytest.raises(ValueError, match="got 'sometimes'"):
            Strict(witness="sometimes")


class TestAFlaggedTask:
    IMPOSSIBLE = "SELECT kind FROM sale WHERE price > 5 AND price < 5"

    def outcome(self, path, gold, answer, flag, matcher="strict"):
        task = {"task_id": "t", "database": path, "question": "?", "gold_sql": gold}
        task["empty_proves_nothing"] = flag
        env = gym.make("Text2SQL-v0", tasks=[task], matcher=matcher)
        env.reset()
        info = env.step(FineStep.answer("so", answer))[4]
        env.close()
        return info["outcome"]

    @pytest.mark.parametrize("name", sorted(set(MATCHERS) - {"r_ves"}))
    def test_an_empty_answer_that_nothing_proves_is_not_paid(self, name, path):
        assert self.outcome(path, self.IMPOSSIBLE, LUCKY[0], False, name) == "match"
        assert self.outcome(path, self.IMPOSSIBLE, LUCKY[0], True, name) == "mismatch"

    def test_an_empty_answer_that_is_right_where_there_are_rows_is_paid(self, path):
        assert self.outcome(path, EMPTY[0], EMPTY[0], True) == "match"
        assert self.outcome(path, EMPTY[0], LUCKY[0], True) == "mismatch"
        assert self.outcome(path, EMPTY[0], EMPTY[0], True, "bird_ex") == "mismatch"

    def test_an_answer_with_rows_is_not_concerned(self, path):
        assert self.outcome(path, "SELECT kind FROM sale", "SELECT kind FROM sale", True) == "match"

    def test_the_flag_is_true_or_false(self, path):
        with pytest.raises(DatasetError, match="true or false, got 'yes'"):
            self.outcome(path, EMPTY[0], EMPTY[0], "yes")

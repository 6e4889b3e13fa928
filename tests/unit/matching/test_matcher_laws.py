"""What holds for every matcher, and for `Strict` on whatever rows."""

from __future__ import annotations

import dataclasses
import pickle
import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from text2sql_gym.errors import GoldError
from text2sql_gym.matching import MATCHERS
from text2sql_gym.matching.cells import same_cell
from text2sql_gym.matching.strict import Strict
from text2sql_gym.types import Limits, Table

settings.register_profile("matching", deadline=None, max_examples=60)
settings.load_profile("matching")

PETS = """
CREATE TABLE pet(id INTEGER PRIMARY KEY, name TEXT, age INTEGER, weight REAL);
INSERT INTO pet VALUES (1,'Rex',3,9.5), (2,'Tom',3,4.25), (3,'Kit',1,0.5), (4,'Rex',7,NULL);
"""
GOLDS = [
    "SELECT name FROM pet",
    "SELECT name, age FROM pet ORDER BY age DESC LIMIT 2",
    "SELECT DISTINCT name FROM pet ORDER BY name",
    "SELECT age, COUNT(*), AVG(weight) FROM pet GROUP BY age HAVING COUNT(*) > 1",
    "SELECT name FROM pet WHERE age > 100",
]


@pytest.fixture(scope="module")
def pets(open_database):
    return open_database(PETS)


@pytest.mark.parametrize("name", MATCHERS)
class TestEveryMatcher:
    @pytest.mark.parametrize("gold", GOLDS)
    def test_the_gold_query_is_a_right_answer(self, name, gold, pets, judge):
        score = judge(MATCHERS[name](), gold, gold, pets)
        assert score >= (0.25 if name == "r_ves" else 1.0)  # the same speed may look slower

    def test_another_result_is_no_match(self, name, pets, judge):
        assert judge(MATCHERS[name](), "SELECT name FROM pet", "SELECT age FROM pet", pets) < 1.0

    def test_a_result_that_was_cut_earns_nothing(self, name, pets):
        matcher, sql, limits = MATCHERS[name](), "SELECT name FROM pet", Limits()
        gold = matcher.prepare(sql, pets, limits)
        cut = dataclasses.replace(gold.table, complete=False)
        assert matcher(sql, cut, gold, pets, limits) == 0.0

    @pytest.mark.parametrize(
        "gold", ["SELECT nothing FROM pet", "DELETE FROM pet", "", "SELECT 1; SELECT 2"]
    )
    def test_a_gold_query_that_fails_is_a_fault(self, name, gold, pets):
        with pytest.raises(GoldError):
            MATCHERS[name]().prepare(gold, pets, Limits())

    def test_a_gold_result_beyond_the_limit_is_a_fault(self, name, pets):
        with pytest.raises(GoldError, match="more than 3 rows"):
            MATCHERS[name]().prepare("SELECT name FROM pet", pets, Limits(compared_rows=3))

    def test_it_is_a_value(self, name, pets):
        matcher = MATCHERS[name]()
        assert matcher == MATCHERS[name]() and hash(matcher) == hash(MATCHERS[name]())
        assert pickle.loads(pickle.dumps(matcher)) == matcher
        gold = matcher.prepare(GOLDS[1], pets, Limits())
        assert pickle.loads(pickle.dumps(gold)).table == gold.table


# --- Strict on results given as literal rows; such a gold query reads no table ---

CELLS = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.integers(2**53 - 2, 2**53 + 2),
    st.integers(-400, 400).map(lambda n: n / 8),
    st.floats(0.001, 1e6).map(lambda x: float(f"{x:.10g}")),  # includes halves of the ninth digit
    st.sampled_from(["", "1", "a", "A", "it's", " a"]),
    st.sampled_from([b"", b"1", b"\x00\xff"]),
)


def tables(least: int = 1, width: int = 3):
    return st.integers(1, width).flatmap(
        lambda columns: st.lists(st.tuples(*[CELLS] * columns), min_size=least, max_size=8)
    )


@pytest.fixture(scope="module")
def nothing(open_database):
    return open_database("CREATE TABLE t(a)")


def literal(cell) -> str:
    if cell is None:
        return "NULL"
    if isinstance(cell, bytes):
        return f"x'{cell.hex()}'"
    return "'" + cell.replace("'", "''") + "'" if isinstance(cell, str) else repr(cell)


def gold_query(rows, tail: str = "") -> str:
    values = ", ".join("(" + ", ".join(map(literal, row)) + ")" for row in rows)
    return f"SELECT * FROM (VALUES {values}) {tail}"


def score(rows, gold_sql, database) -> float:
    limits, matcher = Limits(), Strict()
    gold = matcher.prepare(gold_sql, database, limits)
    columns = tuple("c" for _ in rows[0])
    return matcher("SELECT 1", Table(columns, tuple(rows)), gold, database, limits)


def arranged(rows, order):
    return [tuple(row[place] for place in order) for row in rows]


@given(tables(), st.randoms(use_true_random=False))
def test_rows_and_columns_may_be_permuted(nothing, rows, rng):
    order = rng.sample(range(len(rows[0])), len(rows[0]))
    mixed = arranged(rng.sample(rows, len(rows)), order)
    assert score(mixed, gold_query(rows), nothing) == 1.0


@given(tables(least=2), st.data())
def test_a_row_in_place_of_another_is_wrong(nothing, rows, data):
    one, other = data.draw(st.permutations(range(len(rows))))[:2]
    assume(sorted(map(repr, rows[one])) != sorted(map(repr, rows[other])))
    assume(not any(same_cell(a, b, 1e-9) for a in rows[one] for b in rows[other]))
    changed = [*rows]
    changed[one] = rows[other]
    assert score(changed, gold_query(rows), nothing) == 0.0


@given(tables(), st.data())
def test_a_row_too_many_or_too_few_is_wrong(nothing, rows, data):
    extra = data.draw(st.sampled_from(rows))
    assert score([*rows, extra], gold_query(rows), nothing) == 0.0
    assert score(rows, gold_query([*rows, extra]), nothing) == 0.0


@given(tables(), st.randoms(use_true_random=False))
def test_rounding_noise_does_not_count(nothing, rows, rng):
    def noisy(cell):
        return cell * (1 + rng.uniform(-1, 1) * 1e-13) if isinstance(cell, float) else cell

    changed = [tuple(map(noisy, row)) for row in rng.sample(rows, len(rows))]
    assert score(changed, gold_query(rows), nothing) == 1.0


@given(tables(), st.sampled_from([1e-8, -1e-8, 1e-3]))
def test_a_change_beyond_nine_digits_counts(nothing, rows, change):
    floats = [
        (at, place)
        for at, row in enumerate(rows)
        for place, cell in enumerate(row)
        if isinstance(cell, float) and cell
    ]
    assume(floats)
    at, place = floats[0]
    value = rows[at][place] * (1 + change)
    others = {cell for row in rows for cell in row if isinstance(cell, int | float)}
    assume(not any(same_cell(value, other, 2e-9) for other in others))
    changed = [*rows]
    changed[at] = (*rows[at][:place], value, *rows[at][place + 1 :])
    assert score(changed, gold_query(rows), nothing) == 0.0


@given(
    tables(), st.sampled_from([(None, 0), (None, ""), ("1", 1), (b"1", "1"), (2**53, 2**53 + 1)])
)
def test_types_and_nulls_count(nothing, rows, pair):
    left, right = ([(*row, cell) for row in rows] for cell in pair)
    assert score(left, gold_query(right), nothing) == 0.0
    assert score(right, gold_query(left), nothing) == 0.0


keyed = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=9)


@given(keyed, st.randoms(use_true_random=False))
def test_ties_may_stand_in_any_order_and_nothing_else_may(nothing, rows, rng):
    gold = gold_query(rows, "ORDER BY column1")
    within = sorted(rng.sample(rows, len(rows)), key=lambda row: row[0])
    assert score(within, gold, nothing) == 1.0
    across = rng.sample(rows, len(rows))
    assume([row[0] for row in across] != [row[0] for row in within])
    # column 2 may not stand for column 1 either
    assume(sorted(row[0] for row in rows) != sorted(row[1] for row in rows))
    assert score(across, gold, nothing) == 0.0


@given(keyed, st.integers(1, 9), st.integers(0, 4), st.randoms(use_true_random=False))
def test_a_limit_takes_any_members_of_the_tie_it_cuts(nothing, rows, limit, offset, rng):
    assume(offset < len(rows))
    gold = gold_query(rows, f"ORDER BY column1 DESC LIMIT {limit} OFFSET {offset}")
    mixed = sorted(rng.sample(rows, len(rows)), key=lambda row: -row[0])
    assert score(mixed[offset : offset + limit], gold, nothing) == 1.0


@given(keyed, st.integers(1, 9), st.randoms(use_true_random=False))
def test_a_limit_without_an_order_takes_any_rows(nothing, rows, limit, rng):
    chosen = rng.sample(rows, min(limit, len(rows)))
    assert score(chosen, gold_query(rows, f"LIMIT {limit}"), nothing) == 1.0
    foreign = [*chosen[1:], (99, 99)]
    assert score(foreign, gold_query(rows, f"LIMIT {limit}"), nothing) == 0.0


def test_a_thousand_noisy_rows_are_equal_in_any_order(nothing):
    rng = random.Random(0)
    rows = [(rng.choice("abc"), rng.random(), round(rng.uniform(0, 1e8), 2)) for _ in range(300)]
    noisy = [(a, b * (1 + 1e-15), c * (1 - 1e-15)) for a, b, c in rng.sample(rows, len(rows))]
    assert score(noisy, gold_query(rows), nothing) == 1.0

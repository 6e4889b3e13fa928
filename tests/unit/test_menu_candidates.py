"""Look-alikes of a gold query: which there may be, and that they are drawn from all kinds."""

from contextlib import closing
from dataclasses import replace
from random import Random

import pytest
from menu_shop import shop_tasks

from text2sql_gym.backends import open_backend
from text2sql_gym.golds import gold_results
from text2sql_gym.lookups import Lookup
from text2sql_gym.matching.bird_ex import BirdEx
from text2sql_gym.types import Limits
from text2sql_gym.wrappers.candidates import DECOYS, Bench, is_text, make_candidates, words

TOWN = Lookup("shop", "town", "Vienna-55")
STORED = ("Oslo-19", "Paris-37", "Vienna-55")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    task = shop_tasks(tmp_path_factory.mktemp("candidates"))[0]
    with closing(open_backend(task.database)) as backend:
        golds = gold_results(task, BirdEx(), backend, Limits())
        yield Bench(task, backend, BirdEx(), golds, Limits())


def drawn(bench, kind, target, tries=200):
    """What a kind of look-alike gives, drawn many times."""
    random = Random(0)
    return {decoy for _ in range(tries) for decoy in DECOYS[kind](bench, target, random)}


def test_a_value_with_digits_is_respelt_with_other_digits(bench):
    found = drawn(bench, "respelt", TOWN)
    assert len(found) > 50 and TOWN not in found
    assert {(decoy.table, decoy.column) for decoy in found} == {("shop", "town")}
    assert all(len(decoy.value) == 9 and decoy.value[:7] == "Vienna-" for decoy in found)
    assert not any(decoy.value in STORED for decoy in found)


def test_a_word_is_respelt_in_case_ending_or_length(bench):
    found = drawn(bench, "respelt", replace(TOWN, column="name", value="Beta"))
    # not Beta itself, as it is titled, too
    assert {decoy.value for decoy in found} == {
        "BETA", "beta", "bETA", "Betas", "BET-Beta", "Beta."
    }  # fmt: skip


def test_what_the_question_says_of_a_value_is_spelt_as_there(bench):
    assert drawn(bench, "said", TOWN) == {replace(TOWN, value="Vienna")}
    assert drawn(bench, "said", replace(TOWN, value="Graz-55")) == set()
    task = replace(bench.task, question="Which shops are in Paris-37, in vienna or in Vienna?")
    asked = replace(bench, task=task)
    assert drawn(asked, "said", TOWN) == {replace(TOWN, value="vienna Vienna")}
    alpha = Lookup("shop", "name", "Alpha")
    told = replace(bench, task=replace(bench.task, question="Where is Alpha?"))
    assert drawn(told, "said", alpha) == set(), "it is stored so"


def test_other_values_are_those_of_the_column(bench):
    assert {decoy.value for decoy in drawn(bench, "other_value", TOWN)} == {"Oslo-19", "Paris-37"}


def test_a_column_of_one_value_has_no_other(bench):
    assert drawn(bench, "other_value", Lookup("sale", "state", "DONE")) != set()
    only = replace(bench, limits=Limits(tool_rows=1))
    assert drawn(only, "other_value", replace(TOWN, value=bench.stored(TOWN)[-1])) == set()


def test_the_comparison_that_is_varied_is_the_first_that_the_question_does_not_spell(bench):
    gold = "SELECT name FROM shop WHERE name = 'Alpha' AND town = 'Vienna-55'"
    for question, column, value in (
        ("Is Alpha in Vienna?", "town", "Vienna-55"),
        ("Is it in Vienna-55?", "name", "Alpha"),
        ("Is Alpha in Vienna-55?", "name", "Alpha"),
        ("Is it there?", "name", "Alpha"),
    ):
        task = replace(bench.task, question=question, gold_sql=(gold,))
        assert replace(bench, task=task).target == Lookup("shop", column, value)


@pytest.mark.parametrize("golds", [(), ("SELECT count(*) FROM shop",), ("SELEC",)])
def test_without_a_comparison_there_are_no_candidates(bench, golds):
    other = replace(bench, task=replace(bench.task, gold_sql=golds))
    assert other.target is None and make_candidates(other, 4, Random(0)) == ((), -1)


def test_other_columns_are_the_texts_of_the_table(bench):
    assert drawn(bench, "other_column", TOWN) == {replace(TOWN, column="name")}
    assert drawn(bench, "other_column", replace(TOWN, table="SHOP", column="NAME")) == {
        replace(TOWN, table="SHOP", column="town")
    }
    assert drawn(bench, "other_column", Lookup("sale", "state", "DONE")) == set()


def test_candidates_are_of_every_kind_over_the_seeds(bench):
    first = set()
    for seed in range(30):
        candidates, right = make_candidates(bench, 4, Random(seed))
        wrong = [one.lookup for place, one in enumerate(candidates) if place != right]
        assert len(wrong) == 3 and candidates[right].lookup == TOWN
        respelt = [lookup for lookup in wrong if lookup.value[:7] == "Vienna-"]
        assert len(respelt) >= 2
        first |= {(lookup.column, lookup.value) for lookup in wrong if lookup not in respelt[:2]}
    kinds = {("town", "Vienna"), ("town", "Oslo-19"), ("town", "Paris-37"), ("name", "Vienna-55")}
    assert kinds <= first


def test_no_candidates_are_made_where_the_gold_query_itself_is_refused(bench):
    class Never(BirdEx):
        def __call__(self, *given):
            return 0.0

    assert make_candidates(replace(bench, matcher=Never()), 4, Random(0)) == ((), -1)


def test_no_candidates_are_made_where_every_other_query_is_right(bench):
    class Always(BirdEx):
        def __call__(self, *given):
            return 1.0

    assert make_candidates(replace(bench, matcher=Always()), 4, Random(0)) == ((), -1)


def test_a_query_is_right_when_one_of_the_golds_says_so_and_runs(bench):
    count, name = "SELECT count(*) FROM shop", bench.task.gold_sql[0]
    task = replace(bench.task, gold_sql=(count, name))
    golds = gold_results(task, BirdEx(), bench.backend, Limits())
    both = replace(bench, task=task, golds=golds)
    assert both.is_right(name) and both.is_right(count) and both.is_right("SELECT 5")
    assert not both.is_right("SELECT name FROM shop") and not both.is_right("SELECT nme FROM shop")


def test_stored_values_are_the_texts_of_a_column_in_order(bench):
    assert bench.stored(TOWN) == STORED
    assert bench.stored(Lookup("sale", "id", "")) == ()
    assert bench.stored(Lookup("nowhere", "id", "")) == ()
    few = replace(bench, limits=Limits(tool_rows=2))
    assert len(few.stored(TOWN)) == 2


@pytest.mark.parametrize(
    ("declared", "text"),
    [("", True), ("TEXT", True), ("varchar(20)", True), ("CLOB", True), ("nchar", True),
     ("INTEGER", False), ("REAL", False), ("DATE", False), ("BLOB", False)],
)  # fmt: skip
def test_columns_of_text_are_told_by_their_declared_type(declared, text):
    assert is_text(declared) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Vienna-55", {"vienna"}), ("full_name", {"full", "name"}), ("homeTown", {"home", "town"}),
     ("a b2b", set()), ("ÄRGER im Büro", {"ärger", "im", "büro"}), ("ABCtown", {"abctown"})],
)  # fmt: skip
def test_words_are_letters_without_case(text, expected):
    assert words(text) == expected

"""Which stored texts a query compares columns with, and the query with another comparison."""

import pytest

from text2sql_gym.lookups import Lookup, lookups, spelt, with_lookup

TOWN = Lookup("shop", "town", "Oslo")


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT 1 FROM shop WHERE town = 'Oslo'", [TOWN]),
        ("SELECT 1 FROM shop AS s WHERE s.town = 'Oslo'", [TOWN]),
        ("SELECT 1 FROM shop WHERE town = 'Oslo' OR town = 'Oslo'", [TOWN]),
        ("SELECT 1 FROM shop WHERE 'Oslo' = town", []),
        ("SELECT 1 FROM shop WHERE town = 7 AND town > 'Oslo' AND town = \"Oslo\"", []),
        ("SELECT 1 FROM shop s JOIN sale t ON s.id = t.id WHERE t.state = 'x'",
         [Lookup("sale", "state", "x")]),
        ("SELECT 1 FROM shop s JOIN sale t ON s.id = t.id WHERE state = 'x'", []),
        ("SELECT 1 FROM shop WHERE nobody.town = 'Oslo'", []),
        ("SELECT 1 FROM shop s WHERE s.town = 'Oslo' AND s.id IN"
         " (SELECT s.id FROM sale s WHERE s.state = 'x')", [TOWN, Lookup("sale", "state", "x")]),
        ("SELECT 1 FROM shop WHERE id IN (SELECT id FROM sale WHERE state = 'x')",
         [Lookup("sale", "state", "x")]),
        ("SELECT 1 FROM (SELECT * FROM shop) WHERE town = 'Oslo'", []),
        ("SELECT state = 'x'", []),
        ("VALUES (a = 'x')", []),
        ("SELEC", []),
    ],
)  # fmt: skip
def test_every_comparison_of_a_known_table_is_found_once(sql, found):
    assert lookups(sql) == found


@pytest.mark.parametrize(
    ("sql", "new", "changed"),
    [
        ("SELECT 1 FROM shop WHERE town = 'Oslo' AND name = 'Oslo'", Lookup("shop", "town", "it's"),
         "SELECT 1 FROM shop WHERE town = 'it''s' AND name = 'Oslo'"),
        ("SELECT 1 FROM shop AS s WHERE s.town = 'Oslo' OR NOT s.town = 'Oslo'",
         Lookup("shop", "name", "Oslo"),
         "SELECT 1 FROM shop AS s WHERE s.name = 'Oslo' OR NOT s.name = 'Oslo'"),
        ("SELECT 1 FROM shop WHERE town = 'Oslo' AND town = 'Rome'",
         Lookup("shop", "home town", "x"),
         "SELECT 1 FROM shop WHERE \"home town\" = 'x' AND town = 'Rome'"),
        ("SELECT 1 FROM shop WHERE town = 'Oslo'", Lookup("shop", "Order", "x"),
         "SELECT 1 FROM shop WHERE \"Order\" = 'x'"),
        ("SELECT 1 FROM shop WHERE town = 'Rome'", Lookup("shop", "name", "x"),
         "SELECT 1 FROM shop WHERE town = 'Rome'"),
    ],
)  # fmt: skip
def test_one_comparison_becomes_another_and_the_rest_stays(sql, new, changed):
    assert with_lookup(sql, TOWN, new) == changed


def test_the_probe_shows_the_values_of_a_column_of_any_name():
    assert TOWN.probe == "SELECT DISTINCT town FROM shop"
    assert Lookup("my shop", "to", "").probe == 'SELECT DISTINCT "to" FROM "my shop"'


@pytest.mark.parametrize(
    ("value", "question", "expected"),
    [("Oslo", "in Oslo?", True), ("Oslo", "in oslo?", False), ("Oslo", "Oslos", False),
     ("a.b", "is a.b", True), ("a.b", "is axb", False)],
)  # fmt: skip
def test_a_value_is_spelt_as_words_of_its_own(value, question, expected):
    assert spelt(value, question) == expected

"""Profiles of databases, and questions made from them, on small databases written by hand."""

import re
import sqlite3
from random import Random

import pytest

from text2sql_gym.datasets.attributes import TITLE_FIRST, TITLE_SECOND, WORDS
from text2sql_gym.datasets.blueprint import draw_blueprint
from text2sql_gym.datasets.domains import DOMAINS
from text2sql_gym.datasets.populate import CODES, _encode, populate
from text2sql_gym.datasets.questions import TEMPLATES, make_questions, profile_database
from text2sql_gym.datasets.questions.draw import NoFit, draw_slots
from text2sql_gym.datasets.questions.profile import Link, Role
from text2sql_gym.datasets.questions.template import Template, make_question
from text2sql_gym.datasets.wording import (
    identifier,
    literal,
    phrase,
    plural,
    spoken_forms,
    things,
)


def database(*statements):
    connection = sqlite3.connect(":memory:")
    for statement in statements:
        connection.execute(statement)
    return connection


SHOP = (
    "CREATE TABLE city (id INTEGER PRIMARY KEY, label TEXT)",
    "INSERT INTO city VALUES (1, 'Oslo'), (2, 'Rome')",
    "CREATE TABLE sale (id INTEGER PRIMARY KEY, city_id INTEGER REFERENCES city (id), "
    "state TEXT, price REAL, year INTEGER, day TEXT, note TEXT, photo BLOB)",
    "INSERT INTO sale VALUES (1, 1, 'IN_PROGRESS', 1.5, 2001, '2001-01-02', 'a', x'00')",
    "INSERT INTO sale VALUES (2, 1, 'DONE', 2, 2002, '2001-01-03', 'a', x'00')",
    "INSERT INTO sale VALUES (3, 2, 'DONE', 3, 2003, '2001-01-04', NULL, x'00')",
    "INSERT INTO sale VALUES (4, 2, 'DONE', 3, 2003, '2001-01-05', 'b', x'00')",
)


def roles(connection, table):
    return {c.name: c.role for c in profile_database(connection).table(table).columns}


def test_the_role_of_a_column_is_read_from_its_values():
    assert roles(database(*SHOP), "sale") == {
        "id": Role.KEY,
        "city_id": Role.KEY,
        "state": Role.CATEGORY,
        "price": Role.NUMBER,
        "year": Role.YEAR,
        "day": Role.DATE,
        "note": Role.TEXT,  # neither all different nor each repeated
        "photo": Role.OTHER,
    }
    assert roles(database(*SHOP), "city") == {"id": Role.KEY, "label": Role.NAME}


@pytest.mark.parametrize(
    "value", ["two\nlines", " padded", "", "x" * 41, 'a "quoted" word', "broken \ufffd"]
)
def test_a_column_with_a_value_nobody_would_say_is_not_asked_about(value):
    connection = database("CREATE TABLE t (c TEXT)", "INSERT INTO t VALUES ('a'), ('b'), ('c')")
    assert roles(connection, "t") == {"c": Role.NAME}
    connection.execute("INSERT INTO t VALUES (?)", (value,))
    assert roles(connection, "t") == {"c": Role.OTHER}


def test_digits_that_measure_nothing_are_not_asked_about():
    connection = database("CREATE TABLE t (zip_code INT, n INT)", "INSERT INTO t VALUES (1, 1)")
    assert roles(connection, "t") == {"zip_code": Role.OTHER, "n": Role.NUMBER}


@pytest.mark.parametrize("name", ["id", "Claim_ID", "claim_id", "claimId", "claimID", "stuid_id"])
def test_a_column_named_like_a_key_is_one(name):
    connection = database(f"CREATE TABLE t ({name} INT)", "INSERT INTO t VALUES (1)")
    assert roles(connection, "t") == {name: Role.KEY}


@pytest.mark.parametrize("name", ["paid", "humid", "grid"])
def test_a_word_that_ends_in_id_is_no_key(name):
    connection = database(f"CREATE TABLE t ({name} INT)", "INSERT INTO t VALUES (1)")
    assert roles(connection, "t") == {name: Role.NUMBER}


def test_what_refers_to_its_own_table_is_a_key():
    connection = database(
        "CREATE TABLE worker"
        " (nr INTEGER PRIMARY KEY, boss INTEGER REFERENCES worker (nr), pay REAL)",
        "INSERT INTO worker VALUES (1, NULL, 2.5), (2, 1, 2.5)",
    )
    assert roles(connection, "worker") == {"nr": Role.KEY, "boss": Role.KEY, "pay": Role.NUMBER}
    assert profile_database(connection).links == ()


@pytest.mark.parametrize(
    ("numbers", "role"),
    [
        ((3, 8, 6, 4, 7, 5), Role.KEY),
        ((3, 8, 6, 4, 7, 9), Role.NUMBER),  # a gap
        ((3, 8, 6, 4, 7, 5, 5), Role.NUMBER),  # one twice
        ((3, 6, 4, 7, 5), Role.NUMBER),  # too few to tell
        ((3.0, 8.0, 6.0, 4.0, 7.0, 5.0), Role.NUMBER),
    ],
)
def test_numbers_without_a_gap_number_the_rows(numbers, role):
    rows = ", ".join(f"({number})" for number in numbers)
    connection = database("CREATE TABLE t (place NUMERIC)", f"INSERT INTO t VALUES {rows}")
    if isinstance(numbers[0], float):
        connection = database("CREATE TABLE t (place REAL)", f"INSERT INTO t VALUES {rows}")
    assert roles(connection, "t") == {"place": role}


@pytest.mark.parametrize("name", ["house_number", "PostCode", "flight no", "employee_ref"])
def test_no_average_is_asked_of_a_label(name):
    connection = database(
        f'CREATE TABLE t ("{name}" INTEGER, employee_count INTEGER)',
        "INSERT INTO t VALUES (7, 1), (90, 5)",
    )
    for seed in range(20):
        slots = draw_slots(profile_database(connection), ("t=table", "n=t.amount"), Random(seed))
        assert slots["N"] == "employee_count"


def test_a_table_of_texts_that_repeat_has_questions_of_medium_grade():
    heroes = ", ".join(f"('Name {n % 40}', {n * 7 % 101 + 40})" for n in range(60))
    connection = database(
        "CREATE TABLE hero (full_name, weight)", f"INSERT INTO hero VALUES {heroes}"
    )
    assert roles(connection, "hero") == {"full_name": Role.TEXT, "weight": Role.NUMBER}
    made = make_questions(profile_database(connection), connection, Random(0), 20)
    assert any(question.grade == "medium" for question in made)
    assert not any("full_name =" in question.sql for question in made)


def test_a_tables_links_are_its_foreign_keys():
    profile = profile_database(database(*SHOP))
    assert profile.links == (Link("sale", "city_id", "city", "id"),)


@pytest.mark.parametrize(
    "gap",
    [
        "INSERT INTO sale (id, city_id) VALUES (9, NULL)",
        "INSERT INTO sale (id, city_id) VALUES (9, 7)",
    ],
)
def test_a_link_with_gaps_is_not_used(gap):
    assert profile_database(database(*SHOP, gap)).links == ()


def test_a_link_to_a_column_with_repeats_is_not_used():
    connection = database(
        "CREATE TABLE p (k INT)", "INSERT INTO p VALUES (1), (1)",
        "CREATE TABLE c (k INT REFERENCES p (k))", "INSERT INTO c VALUES (1)",
    )
    assert profile_database(connection).links == ()


def test_a_link_to_a_column_that_does_not_exist_is_not_used():
    connection = database(
        "CREATE TABLE p (k INT)", "INSERT INTO p VALUES (1)",
        "CREATE TABLE c (k INT REFERENCES p (lost))", "INSERT INTO c VALUES (1)",
    )
    assert profile_database(connection).links == ()


def test_tables_with_two_links_between_them_are_not_joined():
    connection = database(
        *SHOP, "ALTER TABLE sale ADD COLUMN other_id INTEGER REFERENCES city (id) DEFAULT NULL",
        "UPDATE sale SET other_id = 1",
    )
    profile = profile_database(connection)
    assert len(profile.links) == 2
    with pytest.raises(NoFit):
        draw_slots(profile, ["on=link"], Random(0))


def test_an_empty_table_is_left_out():
    profile = profile_database(database(*SHOP, "CREATE TABLE hollow (a TEXT)"))
    assert [table.name for table in profile.tables] == ["city", "sale"]


def draw(steps, seed=0):
    return draw_slots(profile_database(database(*SHOP)), steps, Random(seed))


def test_a_link_fills_both_tables_and_the_join():
    assert draw(["on=link"]) == {
        "t": "sales", "T": "sale", "p": "cities", "P": "city",
        "ON": "sale.city_id = city.id", "FK": "city_id", "ID": "id",
    }


def test_a_looked_up_value_is_said_otherwise_than_stored():
    slots = draw(["on=link", "u=t.coded_category", "s=u.spoken"])
    assert (slots["u"], slots["UU"]) == ("state", "sale.state")
    assert (slots["s"], slots["S"]) in {("done", "'DONE'"), ("in progress", "'IN_PROGRESS'")}


def test_a_value_that_sounds_like_another_one_is_not_asked_about():
    connection = database(*SHOP, "INSERT INTO city VALUES (3, 'Done')")
    profile = profile_database(connection)
    said = {
        draw_slots(profile, ["on=link", "u=t.coded_category", "s=u.spoken"], Random(seed))["s"]
        for seed in range(20)
    }
    assert said == {"in progress"}


def test_other_than_a_value_is_not_asked_of_a_column_with_gaps():
    shop = database(*SHOP)
    steps = ["on=link", "d=t.complete"]
    assert draw_slots(profile_database(shop), steps, Random(0))["D"] == "state"
    shop.execute("INSERT INTO sale (id, city_id) VALUES (5, 1)")
    with pytest.raises(NoFit):
        draw_slots(profile_database(shop), steps, Random(0))


def test_a_threshold_leaves_values_on_both_sides():
    drawn = {draw(["on=link", "n=t.number", "k=n.threshold"], seed)["K"] for seed in range(30)}
    assert drawn == {"2.0", "2002"}


def test_a_result_cut_at_a_tie_gives_no_question():
    connection = database(
        "CREATE TABLE t (name TEXT, n INT)", "INSERT INTO t VALUES ('a', 5), ('b', 5), ('c', 1)"
    )
    profile = profile_database(connection)
    highest = make_question(TEMPLATES["highest"], profile, connection, Random(0))
    assert highest is None
    lowest = make_question(TEMPLATES["lowest"], profile, connection, Random(0))
    assert connection.execute(lowest.sql).fetchall() == [("c",)]


def test_a_limit_that_cuts_nothing_off_gives_no_question():
    connection = database("CREATE TABLE t (name TEXT, n INT)", "INSERT INTO t VALUES ('a', 5)")
    profile = profile_database(connection)
    assert make_question(TEMPLATES["highest"], profile, connection, Random(0)) is None


@pytest.mark.parametrize("sql", ["SELECT 1 WHERE 0", "SELECT NULL", "SELECT 0"])
def test_a_gold_without_an_answer_gives_no_question(sql):
    connection = database(*SHOP)
    template = Template("plain", "easy", ("t=table",), sql, ("What of {t}?",))
    assert make_question(template, profile_database(connection), connection, Random(0)) is None


def test_more_than_sixty_rows_give_no_question():
    connection = database(*SHOP)
    for rows, made in ((60, True), (61, False)):
        sql = (
            f"WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n WHERE x < {rows}) "
            "SELECT x FROM n"
        )
        template = Template("plain", "easy", ("t=table",), sql, ("What of {t}?",))
        question = make_question(template, profile_database(connection), connection, Random(0))
        assert (question is not None) is made


def test_a_gold_beyond_the_budget_gives_no_question_and_other_errors_are_ours():
    connection = database(*SHOP)
    profile = profile_database(connection)
    endless = (
        "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n"
    )
    connection.set_progress_handler(lambda: 1, 10_000)
    slow = Template("slow", "easy", ("t=table",), endless, ("What of {t}?",))
    assert make_question(slow, profile, connection, Random(0)) is None
    broken = Template("broken", "easy", ("t=table",), "SELEC", ("What of {t}?",))
    with pytest.raises(sqlite3.OperationalError):
        make_question(broken, profile, connection, Random(0))


def test_no_two_questions_have_the_same_gold_and_a_small_database_gives_fewer():
    connection = database("CREATE TABLE t (n INT)", "INSERT INTO t VALUES (1), (2)")
    questions = make_questions(profile_database(connection), connection, Random(0), 50)
    golds = [question.sql for question in questions]
    assert len(golds) == len(set(golds)) < 50
    assert "SELECT COUNT(*) FROM t" in golds


@pytest.mark.parametrize("number", range(12))
def test_the_phrase_of_a_looked_up_value_decides_which_one_is_meant(number):
    """The longest phrase of the column's values that the question contains is the gold's."""
    lines = list(DOMAINS["train"].values())[number]
    connection = database()
    random = Random(number)
    spoken = populate(connection, draw_blueprint(lines, random), random)
    assert spoken
    questions = make_questions(profile_database(connection, spoken), connection, random, 40)
    looked_up = [question for question in questions if TEMPLATES[question.template].looked_up]
    assert looked_up
    for question in looked_up:
        ((stored, said),) = [
            (stored, said)
            for values in spoken.values()
            for stored, said in values.items()
            if literal(stored) in question.sql
        ]
        (siblings,) = [values for values in spoken.values() if stored in values]
        fitting = [phrase for phrase in siblings.values() if f" {phrase}" in question.text]
        assert max(fitting, key=len) == said
        everywhere = [said for values in spoken.values() for said in values.values()]
        assert everywhere.count(said) == 1


@pytest.mark.parametrize("style", CODES)
def test_a_stored_spelling_cannot_be_guessed_from_the_phrase(style):
    spelt = {CODES[style]("in progress", letter, n) for letter, n in (("A", 1), ("B", 2), ("C", 3))}
    assert len(spelt) == 3 and "in progress" not in {text.lower() for text in spelt}


@pytest.mark.parametrize("style", CODES)
def test_no_two_values_of_a_column_that_share_their_mark_are_spelt_alike(style):
    names = [f"{first} {second}" for first in TITLE_FIRST for second in TITLE_SECOND]
    for values in [*(text.split(", ") for _, text in WORDS.values()), names]:
        assert len({CODES[style](value, "K", 7) for value in values}) == len(values)


def test_most_coded_columns_carry_one_mark_and_some_one_per_value():
    marks = []
    for seed in range(200):
        stored = _encode(dict.fromkeys(("red", "blue", "green")), Random(seed))
        marks.append(len({"".join(re.findall(r"\d|_[A-Z]$", text)) for text in stored.values()}))
    assert 0.6 < marks.count(1) / len(marks) < 0.8 and max(marks) == 3


@pytest.mark.parametrize(
    ("noun", "expected"),
    [("city", "cities"), ("day", "days"), ("branch", "branches"), ("box", "boxes"),
     ("person", "people"), ("fish", "fish"), ("river_boat", "river_boats"), ("bus", "buses")],
)
def test_plural(noun, expected):
    assert plural(noun) == expected


@pytest.mark.parametrize(
    ("table", "expected"),
    [("Customer", "customers"), ("customers", "customers"), ("RiverBoat", "river boats"),
     ("documents_mailed", "documents mailed")],
)
def test_what_a_question_calls_the_rows_of_a_table(table, expected):
    assert things(table) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("visitYear", "visit year"), ("Visit_Year", "visit year"), ("a  b", "a b")],
)
def test_phrase(name, expected):
    assert phrase(name) == expected


def test_identifiers_and_literals_are_quoted_where_needed():
    assert identifier("price") == "price"
    assert identifier("order") == '"order"'
    assert identifier('odd "name"') == '"odd ""name"""'
    assert literal("O'Neil") == "'O''Neil'"
    assert literal(3) == "3" and literal(1.5) == "1.5"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["IN_PROGRESS", "DONE"], {"IN_PROGRESS": "in progress", "DONE": "done"}),
        (["AssocProf", "on-hold"], {"AssocProf": "assoc prof", "on-hold": "on hold"}),
        (["Oslo", "rome"], {}),  # one is said as it is stored
        (["Boeing 747", "Cessna"], {}),  # a number may be part of the name
        (["DONE", "Done"], {}),  # two sound alike
    ],
)
def test_how_values_are_said(values, expected):
    assert spoken_forms(values) == expected

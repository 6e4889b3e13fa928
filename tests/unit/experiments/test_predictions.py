"""Prediction files in the official formats."""

import json
import sqlite3
from contextlib import closing

import pytest
from experiments.predictions import bird_predictions, flattened, gold_lines, spider_predictions
from hypothesis import given
from hypothesis import strategies as st
from text2sql_gym.sql_text import normalized
from text2sql_gym.types import Task

TASKS = (
    Task("a", "a.sqlite", "?", ("SELECT 1;",), database_id="shop"),
    Task("b", "b.sqlite", "?", (), database_id="zoo"),
)


def test_birds_file_has_a_query_and_a_database_by_place():
    text = bird_predictions(TASKS, ["SELECT\n2 ", ""])
    assert json.loads(text) == {
        "0": "SELECT\n2\t----- bird -----\tshop",
        "1": "\t----- bird -----\tzoo",
    }


def test_spiders_file_has_a_line_per_question_and_none_is_blank():
    text = spider_predictions(TASKS, ["SELECT a, -- the first\n\t'b  c'\nFROM t ; ", " -- no"])
    assert text == "SELECT a, 'b  c' FROM t\nSELECT\n"
    assert gold_lines(TASKS) == "SELECT 1\tshop\nSELECT\tzoo\n"


def test_an_unanswered_question_is_a_query_that_fails():
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(sqlite3.Error):
        connection.execute(spider_predictions(TASKS[:1], [""]))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'a' /* all\nof it */ || 'b'",
        "SELECT\n1\n--x\n+ 2",
        "SELECT 1 AS \"a  b\", 'it''s -- not a comment'",
        "SELECT 3 -- end",
        "SELECT ';'",
    ],
)
def test_a_query_on_one_line_gives_the_same_rows(sql):
    with closing(sqlite3.connect(":memory:")) as connection:
        one = connection.execute(sql)
        other = connection.execute(flattened(sql))
        assert one.fetchall() == other.fetchall()


@given(st.text(alphabet="aA1 \n\t'\"`[]-/*;,."))
def test_a_line_is_one_line_and_the_same_statement(sql):
    line = flattened(sql)
    assert not set("\n\r\t") & set(line)
    assert flattened(line) == line
    if not set("'\"`[") & set(sql):
        assert normalized(line) == normalized(sql)

"""How a schema is written into a prompt."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text2sql_gym.prompts import SCHEMA_STYLES, compact, ddl, engine_of, quoted
from text2sql_gym.types import Column, ForeignKey, TableSchema

SCHEMA = (
    TableSchema(
        "sale",
        (
            Column("id", "INTEGER", primary_key=True),
            Column("shop id", "INTEGER", description="where it\n was sold"),
            Column("order"),
        ),
        (ForeignKey("shop id", "shop", "id"),),
    ),
    TableSchema("shop", (Column("id", "INTEGER", primary_key=True),)),
)


def test_ddl_has_types_keys_and_descriptions_as_comments():
    assert ddl(SCHEMA) == (
        "CREATE TABLE sale (\n"
        "    id INTEGER,\n"
        '    "shop id" INTEGER, -- where it was sold\n'
        '    "order",\n'
        "    PRIMARY KEY (id),\n"
        '    FOREIGN KEY ("shop id") REFERENCES shop (id)\n'
        ");\n"
        "\n"
        "CREATE TABLE shop (\n"
        "    id INTEGER,\n"
        "    PRIMARY KEY (id)\n"
        ");"
    )


def test_compact_is_one_line_a_table_with_foreign_keys_as_equations():
    assert compact(SCHEMA) == 'sale(id, "shop id" = shop.id, "order")\nshop(id)'


def test_both_styles_stand_in_the_registry():
    assert SCHEMA_STYLES == {"ddl": ddl, "compact": compact}


def test_ddl_is_sql_that_makes_the_same_tables():
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(ddl(SCHEMA))
        names = connection.execute("SELECT name FROM pragma_table_info('sale')").fetchall()
    assert names == [("id",), ("shop id",), ("order",)]


@settings(deadline=None)
@given(st.text(min_size=1, max_size=10).filter(lambda name: "\0" not in name and _is_utf8(name)))
def test_a_quoted_name_means_that_name(name):
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t ({quoted(name)} INTEGER)")
        assert connection.execute("SELECT name FROM pragma_table_info('t')").fetchone() == (name,)


def _is_utf8(text):
    return text == text.encode(errors="ignore").decode()


@pytest.mark.parametrize("name", ["order", "Group", "a b", "é", "1a", 'a"b', ""])
def test_names_that_are_not_plain_words_are_quoted(name):
    assert quoted(name) == '"' + name.replace('"', '""') + '"'


def test_plain_words_are_bare():
    assert quoted("shop_id2") == "shop_id2"


@pytest.mark.parametrize(
    ("url", "engine"),
    [
        ("shop.sqlite", "SQLite"),
        ("sqlite:///shop.sqlite", "SQLite"),
        ("duckdb:///shop.duckdb", "DuckDB"),
        ("postgresql://localhost/shop", "PostgreSQL"),
        ("duckdb", "SQLite"),
    ],
)
def test_the_engine_is_read_off_the_url(url, engine):
    assert engine_of(url) == engine

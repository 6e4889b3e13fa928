"""What each tool answers, on a small shop."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text2sql_gym.backends import open_backend
from text2sql_gym.errors import ToolError
from text2sql_gym.tools import TOOLS, describe
from text2sql_gym.tools.propose_schema import parse_proposal, write_proposal
from text2sql_gym.types import CallOutcome, Limits

SCRIPT = """
CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT, "zip code" TEXT);
CREATE TABLE "order" (id INTEGER PRIMARY KEY, city_id INTEGER REFERENCES city, price);
CREATE TABLE note (text, about REFERENCES gone);
CREATE VIEW dear AS SELECT * FROM "order" WHERE price > 5;
INSERT INTO city (name, "zip code") VALUES
    ('Oslo', '0150'), ('Rome', '00100'), ('100%', 'a_b'), ('São Tomé', NULL), ('oslo', 'axb'),
    ('O''Fallon', '63366'), ('~', '7');
INSERT INTO "order" VALUES (1, 1, 2.5), (2, 1, 7), (3, 2, 9);
"""
DESCRIPTIONS = (
    "original_column_name,column_name,column_description,data_format,value_description\n"
    "name,,name of the city,text,\n"
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    with closing(sqlite3.connect(folder / "shop.sqlite")) as connection:
        connection.executescript(SCRIPT)
    (folder / "database_description").mkdir()
    (folder / "database_description" / "city.csv").write_text(DESCRIPTIONS)
    backend = open_backend(str(folder / "shop.sqlite"))
    yield backend
    backend.close()


def ask(shop, tool, limits=Limits(), **arguments):
    return TOOLS[tool](shop, arguments, limits)


def refusal(shop, tool, **arguments):
    with pytest.raises(ToolError) as caught:
        ask(shop, tool, **arguments)
    return caught.value


class TestListTables:
    def test_names_tables_and_views_in_declared_order(self, shop):
        text = "city (3 columns)\norder (3 columns)\nnote (2 columns)\ndear (3 columns)\n(4 tables)"
        result = ask(shop, "list_tables")
        assert (result.text, result.table, result.final) == (text, None, False)

    def test_says_how_many_did_not_fit(self, shop):
        limits = Limits(shown_characters=35)
        # 17 and 18 characters with their line ends are 35; one more line is too much
        shown = "city (3 columns)\norder (3 columns)\n(2 shown of 4 tables)"
        assert ask(shop, "list_tables", limits).text == shown
        limits = Limits(shown_characters=34)
        assert ask(shop, "list_tables", limits).text == "city (3 columns)\n(1 shown of 4 tables)"


class TestDescribeTable:
    def test_shows_types_keys_and_descriptions(self, shop):
        assert ask(shop, "describe_table", table="CITY").text == (
            "id INTEGER, primary key\nname TEXT -- name of the city\nzip code TEXT\n(3 columns)"
        )
        assert ask(shop, "describe_table", table="order").text == (
            "id INTEGER, primary key\ncity_id INTEGER, refers to city.id\nprice\n(3 columns)"
        )

    def test_a_reference_to_a_table_that_is_gone_names_no_column(self, shop):
        shown = ask(shop, "describe_table", table="note").text
        assert shown == "text\nabout, refers to gone\n(2 columns)"

    def test_a_table_that_does_not_exist_is_told_the_nearest(self, shop):
        error = refusal(shop, "describe_table", table="citty")
        assert "no table named 'citty'. Did you mean 'city'?" in str(error)
        assert error.outcome is CallOutcome.SQL_ERROR


class TestSampleRows:
    def test_shows_the_first_rows_and_that_there_are_more(self, shop):
        result = ask(shop, "sample_rows", Limits(shown_rows=2), table="Order")
        assert result.text == (
            "id | city_id | price\n1 | 1 | 2.5\n2 | 1 | 7\n(2 rows shown of 3)"
        )
        assert result.outcome is CallOutcome.OK

    def test_rows_that_are_not_shown_are_credited_up_to_a_limit_that_is_said(self, shop):
        result = ask(shop, "sample_rows", Limits(shown_rows=1, tool_rows=2), table="order")
        assert result.table.rows == ((1, 1, 2.5), (2, 1, 7)) and not result.table.complete
        assert result.text.endswith("\n(1 rows shown of more than 2)")
        assert result.outcome is CallOutcome.TRUNCATED

    def test_reads_views_too(self, shop):
        shown = ask(shop, "sample_rows", table="dear").text
        assert shown.endswith("2 | 1 | 7\n3 | 2 | 9\n(2 rows)")

    def test_a_query_instead_of_a_name_is_no_table(self, shop):
        assert "no table named" in str(refusal(shop, "sample_rows", table="city; DROP TABLE city"))


class TestSearchValues:
    @pytest.mark.parametrize(
        ("column", "text", "values"),
        [
            ("name", "OSL", ["Oslo", "oslo"]),
            ("NAME", "%", ["100%"]),
            ("name", "~", ["~"]),
            ("name", "'", ["O'Fallon"]),
            ("name", "Tomé", ["São Tomé"]),
            ("name", "nowhere", []),
            ("zip code", "a_b", ["a_b"]),
            ("zip code", "", ["00100", "0150", "63366", "7", "a_b", "axb"]),
            ("id", "7", [7]),
        ],
    )
    def test_finds_values_that_contain_the_text_itself(self, shop, column, text, values):
        result = ask(shop, "search_values", table="city", column=column, text=text)
        assert [value for (value,) in result.table.rows] == values
        assert all(str(value) in result.text for value in values)

    def test_shows_each_value_once(self, shop):
        result = ask(shop, "search_values", table="order", column="city_id", text="")
        assert result.text == "city_id\n1\n2\n(2 rows)"

    def test_a_column_that_does_not_exist_is_told_the_nearest(self, shop):
        error = refusal(shop, "search_values", table="city", column="nme", text="x")
        assert "no column of city named 'nme'. Did you mean 'name'?" in str(error)


class TestProposeSchema:
    def test_accepts_what_exists_in_any_case(self, shop):
        result = ask(shop, "propose_schema", schema='City(ID, "ZIP code"); "order"(price)')
        assert result.text == "(2 tables and 3 columns proposed)"

    @pytest.mark.parametrize(
        ("schema", "told"),
        [
            ("town(id)", "no table named 'town'"),
            ("city(id, nmae)", "no column of city named 'nmae'. Did you mean 'name'?"),
        ],
    )
    def test_refuses_what_does_not_exist(self, shop, schema, told):
        assert told in str(refusal(shop, "propose_schema", schema=schema))

    @pytest.mark.parametrize(
        ("text", "proposal"),
        [
            ("a(b)", {"a": ("b",)}),
            ("a ( b , c ) ;", {"a": ("b", "c")}),
            ("a()", {"a": ()}),
            ("a(b); A(C, b)", {"a": ("b", "c")}),
            ('"a ""b"""("c (d)", ";")', {'a "b"': ("c (d)", ";")}),
            ("é1(x.y)", {"é1": ("x.y",)}),
        ],
    )
    def test_reads_names_plain_or_quoted(self, text, proposal):
        assert parse_proposal(text) == proposal

    @given(st.lists(st.tuples(st.text("ab ;(,\"é", min_size=1), st.text("ab ;(,\"é"))))
    def test_reads_what_was_written(self, pairs):
        wanted = {}
        for table, column in pairs:
            wanted.setdefault(table, []).extend([column] if column else [])
        distinct = {table: tuple(dict.fromkeys(columns)) for table, columns in wanted.items()}
        assert not pairs or parse_proposal(write_proposal(pairs)) == distinct

    @pytest.mark.parametrize(
        "text",
        ["", ";", "a", "a(b", "a b)", "a(b))", "(b)", "a(b c)", "a((b))", 'a("b)', 'a"b(c)'],
    )
    def test_refuses_any_other_text_with_an_example(self, text):
        with pytest.raises(ToolError, match="expected a schema like: sale") as caught:
            parse_proposal(text)
        assert caught.value.outcome is CallOutcome.MALFORMED

    @settings(deadline=None)
    @given(st.text(alphabet='ab"(),; \n', max_size=20))
    def test_any_text_is_a_proposal_or_refused(self, text):
        try:
            assert parse_proposal(text)
        except ToolError:
            pass

    @pytest.mark.parametrize("piece", ['"', '""', "a(", "(", "a,", "a(b);", '"a', " "])
    def test_a_megabyte_of_anything_is_read_in_linear_time(self, piece):
        # a quadratic reader would need hours for these
        try:
            parse_proposal(piece * (1_000_000 // len(piece)))
        except ToolError:
            pass


class TestArguments:
    def test_what_is_missing_or_too_much_is_told(self, shop):
        error = refusal(shop, "execute_sql", query="SELECT 1")
        assert str(error) == 'expected the arguments "sql"; got "query"'
        assert error.outcome is CallOutcome.MALFORMED
        error = refusal(shop, "list_tables", table="city")
        assert str(error) == 'expected the arguments none; got "table"'
        error = refusal(shop, "search_values", table="city")
        assert str(error) == 'expected the arguments "table", "column", "text"; got "table"'


class TestSubmit:
    def test_ends_the_episode_whatever_the_query_does(self, shop):
        assert ask(shop, "submit", sql="SELECT 1").final
        failed = ask(shop, "submit", sql="SELECT nme FROM city")
        assert failed.final and failed.table is None
        assert failed.outcome is CallOutcome.SQL_ERROR
        assert failed.text == f"Error: {failed.error}"


def test_tools_are_described_by_their_docstrings():
    assert describe(["list_tables"]) == (
        "- list_tables: List the tables and views of the database with their number of columns."
        " Arguments: none."
    )

"""What the parse tree tells before a statement reaches an engine without an authorizer."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from text2sql_gym.backends.answers import Refused
from text2sql_gym.backends.sql_check import checked
from text2sql_gym.backends.sql_reads import reads
from text2sql_gym.backends.sql_rows import plain, plain_rows

TABLES = {
    "Customer": {"id": "INTEGER", "Name": "TEXT"},
    "sale": {"id": "INTEGER", "customer_id": "INTEGER", "amount": "REAL"},
    "spending": {"customer_id": "INTEGER", "total": "REAL"},
}


def kind(sql, dialect):
    try:
        checked(sql, dialect)
    except Refused as refusal:
        return refusal.kind
    return "ok"


@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", "ok"),
        ("(SELECT 1) UNION (SELECT 2) ORDER BY 1 -- done", "ok"),
        ("VALUES (1), (2);", "ok"),
        ("WITH t AS (SELECT 1) SELECT * FROM t", "ok"),
        ("SELECT substring('today is', 1, 5), upper('now then')", "ok"),
        ("SELECT count(*) FILTER (WHERE x > 1) OVER (PARTITION BY y) FROM t", "ok"),
        ("SELECT * FROM information_schema.columns", "ok"),
        ("", "sql_error"),
        ("-- nothing", "sql_error"),
        ("SELEC 1", "sql_error"),
        ("SELECT FROM WHERE", "sql_error"),
        ("SELEC", "sql_error"),
        ("SELECT '\0'", "sql_error"),
        ("SELECT '\ud800'", "sql_error"),
        ("SELECT " + 5_000 * "(" + "1" + 5_000 * ")", "sql_error"),
        ("SELECT 1; SELECT 2", "not_allowed"),
        ("DROP TABLE t", "not_allowed"),
        ("CREATE TEMP TABLE t AS SELECT 1", "not_allowed"),
        ("WITH t AS (DELETE FROM x RETURNING *) SELECT * FROM t", "not_allowed"),
        ("SELECT * INTO y FROM x", "not_allowed"),
        ("SELECT * FROM x FOR UPDATE", "not_allowed"),
        ("SELECT * FROM x TABLESAMPLE BERNOULLI (10)", "not_allowed"),
        ("EXPLAIN SELECT 1", "not_allowed"),
        ("BEGIN", "not_allowed"),
        ("SET a = 1", "not_allowed"),
        ("COPY x TO 'file'", "not_allowed"),
        ("SELECT random()", "not_allowed"),
        ("SELECT CURRENT_DATE", "not_allowed"),
        ("SELECT 1 WHERE now() > '2020-01-01'", "not_allowed"),
        ("SELECT * FROM (SELECT gen_random_uuid()) AS t", "not_allowed"),
        ("SELECT current_setting('x')", "not_allowed"),
        ("SELECT age(day) FROM x", "not_allowed"),
        ("SELECT pg_catalog.AGE(day) FROM x", "not_allowed"),
        ("SELECT age(one, other), age FROM x", "ok"),
        ("SELECT 'Apocalypse Now', 'now playing', 'today''s', 'know', 'days', '10:00'", "ok"),
    ],
)
def test_one_reading_statement_passes_and_nothing_else(dialect, sql, expected):
    assert kind(sql, dialect) == expected


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        ("postgres", "SELECT pg_sleep(9)"),
        ("postgres", "SELECT set_config('statement_timeout', '0', false)"),
        ("postgres", "SELECT query_to_xml('SELECT 1', true, true, '')"),
        ("postgres", "SELECT lo_import('/etc/passwd')"),
        ("postgres", "SELECT * FROM pg_stat_activity"),
        ("postgres", "SELECT 'now'::timestamp"),
        ("postgres", "SELECT DATE ' Tomorrow '"),
        ("postgres", "SELECT 'today 10:00'::timestamptz"),
        ("postgres", "SELECT day > '10:00,today' FROM x"),
        ("postgres", "SELECT CAST('Wed\nTOMORROW at t10:00 America/New_York' AS timestamptz)"),
        ("postgres", "SELECT mxid_age('1')"),
        ("postgres", "SELECT lowrite(1, 'x')"),
        ("postgres", "SELECT ts_rewrite('a'::tsquery, 'SELECT 1')"),
        ("postgres", "DO $$ BEGIN END $$"),
        ("duckdb", "SELECT * FROM read_csv('x.csv')"),
        ("duckdb", "SELECT * FROM 'x.csv'"),
        ("duckdb", "SELECT * FROM './x'"),
        ("duckdb", "FROM duckdb_settings()"),
        ("duckdb", "FROM duckdb_databases"),
        ("duckdb", "FROM pragma_database_list"),
        ("duckdb", "SELECT * FROM query('SELECT 1')"),
        ("duckdb", "FROM pg_timezone_names()"),
        ("duckdb", "FROM pg_settings"),
        ("duckdb", "FROM pg_catalog.pg_settings"),
        ("duckdb", "SELECT transaction_timestamp()"),
        ("duckdb", "SELECT ago(INTERVAL 1 DAY)"),
        ("duckdb", "SELECT write_log('x')"),
        ("duckdb", "SELECT sleep_ms(9)"),
        ("duckdb", "FROM truncate_duckdb_logs()"),
        ("duckdb", "FROM enable_logging()"),
        ("duckdb", "FROM enable_profiling(save_location = 'x')"),
        ("duckdb", "FROM register_external_resource('x', 'y')"),
        ("duckdb", "PRAGMA database_list"),
        ("duckdb", "ATTACH 'x' AS y"),
        ("duckdb", "INSTALL httpfs"),
        ("duckdb", "SELECT * FROM t USING SAMPLE 3"),
    ],
)
def test_what_reaches_out_of_the_database_is_not_allowed(dialect, sql):
    assert kind(sql, dialect) == "not_allowed"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", set()),
        ("SELECT NAME FROM CUSTOMER", {("Customer", "Name")}),
        ("SELECT count(*) FROM Sale", {("sale", "")}),
        ("SELECT * FROM sale", {("sale", "id"), ("sale", "customer_id"), ("sale", "amount")}),
        ("SELECT c.id FROM customer c, sale", {("Customer", "id"), ("sale", "")}),
        (
            "SELECT name FROM customer c JOIN sale s ON s.customer_id = c.id",
            {("Customer", "Name"), ("Customer", "id"), ("sale", "customer_id")},
        ),
        (
            "SELECT name FROM customer c"
            " WHERE EXISTS (SELECT 1 FROM sale WHERE customer_id = c.id)",
            {("Customer", "Name"), ("Customer", "id"), ("sale", "customer_id")},
        ),
        (
            "SELECT 1 FROM customer c WHERE id IN (SELECT 1 FROM sale"
            " WHERE 1 = (SELECT max(total) FROM spending WHERE c.name = '' AND sale.amount > 1))",
            {
                ("Customer", "id"),
                ("Customer", "Name"),
                ("sale", "amount"),
                ("spending", "total"),
            },
        ),
        ("WITH sale AS (SELECT 1 AS id) SELECT id FROM sale", set()),
        (
            "WITH t AS (SELECT total FROM spending) SELECT max(total) FROM t",
            {("spending", "total")},
        ),
        ("SELECT id FROM sale UNION SELECT id FROM customer", {("sale", "id"), ("Customer", "id")}),
        ("SELECT nme FROM nowhere", set()),
    ],
)
def test_reads_are_found_in_the_schemas_spelling(sql, expected):
    assert reads(checked(sql, "duckdb"), TABLES, "duckdb") == expected


def test_a_query_that_cannot_be_resolved_gives_its_tables():
    tree = checked("SELECT x FROM customer AS a, sale AS a", "duckdb")
    assert reads(tree, TABLES, "duckdb") == {("Customer", ""), ("sale", "")}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (None, None),
        (7, 7),
        (True, 1),
        (0.5, 0.5),
        ("a", "a"),
        (b"a", b"a"),
        (bytearray(b"a"), b"a"),
        (memoryview(b"a"), b"a"),
        (Decimal("7"), 7),
        (Decimal("7.00"), 7.0),
        (Decimal("0.1"), 0.1),
        (date(2024, 3, 1), "2024-03-01"),
        (datetime(2024, 3, 1, 9, 5), "2024-03-01 09:05:00"),
        (time(9, 5), "09:05:00"),
        (timedelta(days=1, seconds=5), "1 day, 0:00:05"),
        ([1, Decimal("0.5"), "ö"], '[1, 0.5, "ö"]'),
        ({"day": date(2024, 3, 1)}, '{"day": "2024-03-01"}'),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    ],
)
def test_a_cell_becomes_what_sqlite_would_store(cell, expected):
    assert plain(cell) == expected
    assert type(plain(cell)) is type(expected)


def test_rows_become_tuples_of_plain_cells():
    assert plain_rows([[True, "a"], (Decimal("7"), None)]) == [(1, "a"), (7, None)]


def test_a_number_that_is_none_is_a_float():
    assert str(plain(Decimal("NaN"))) == "nan"


def test_every_function_that_duckdb_itself_calls_unstable_is_refused():
    duckdb = pytest.importorskip("duckdb")
    unstable = duckdb.sql(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability != 'CONSISTENT'"
        " OR regexp_matches(macro_definition, '\\bnow\\b|current_time|current_date|random')"
    ).fetchall()
    names = sorted(name for (name,) in unstable if name.isidentifier() and name != "error")
    assert len(names) > 20
    assert [name for name in names if kind(f"SELECT {name}()", "duckdb") != "not_allowed"] == []

"""Laws of every backend: the same small database, asked through each engine."""

import os
import pickle
import threading
from contextlib import closing
from pathlib import Path
from time import perf_counter

import pytest

from text2sql_gym.backends import BACKENDS, open_backend
from text2sql_gym.backends.answers import Refused
from text2sql_gym.backends.sql_check import checked
from text2sql_gym.backends.worker_pool import worker_pool
from text2sql_gym.errors import EnvironmentFault, ToolError, UnknownName
from text2sql_gym.types import CallOutcome, ForeignKey, Limits, Table

LIMITS = Limits(seconds=60.0)
HURRIED = Limits(seconds=1.5)
SCRIPT = (
    "CREATE TABLE customer (id INTEGER PRIMARY KEY, name VARCHAR(20))",
    "CREATE TABLE sale (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer (id),"
    " amount DOUBLE PRECISION)",
    "CREATE VIEW spending AS"
    " SELECT customer_id, sum(amount) AS total FROM sale GROUP BY customer_id",
    "INSERT INTO customer VALUES (1, 'Ada'), (2, 'Zoë'), (3, NULL)",
    "INSERT INTO sale VALUES (1, 1, 2.5), (2, 1, 4.0), (3, 2, 0.1)",
)
SERIES = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n{where})"
ENDLESS = SERIES.format(where="") + " SELECT count(*) FROM n"
LONG_CALLS = {
    "duckdb": "SELECT levenshtein(repeat('a', 100000), repeat('b', 100000))",
    "postgresql": "SELECT length(translate(repeat('a', 1000000), repeat('b', 2000), ''))",
    "sqlite": "SELECT trim(hex(zeroblob(490000)), replace(hex(zeroblob(40000)), '0', 'a') || '0')",
}
"""For each engine one call that takes it long and cannot be interrupted."""


@pytest.fixture(scope="session", params=sorted(BACKENDS))
def url(request, write_database):
    """The URL of the same database under each engine."""
    url = write_database(request.param, "shop", SCRIPT)
    with closing(open_backend(url, LIMITS)):  # keeps the worker processes between tests
        yield url


@pytest.fixture
def backend(url):
    backend = open_backend(url, LIMITS)
    yield backend
    backend.close()


@pytest.fixture
def hurried(url):
    """For statements that are to be stopped."""
    backend = open_backend(url, HURRIED)
    yield backend
    backend.close()


def refusal(backend, sql):
    with pytest.raises(ToolError) as caught:
        backend.execute(sql, max_rows=5)
    return caught.value


def test_the_schema_is_as_declared(backend):
    tables = {table.name: table for table in backend.schema()}
    assert list(tables) == ["customer", "sale", "spending"]
    columns = tables["sale"].columns
    assert [column.name for column in columns] == ["id", "customer_id", "amount"]
    assert [column.primary_key for column in columns] == [True, False, False]
    assert all(column.type for column in columns)
    assert tables["sale"].foreign_keys == (ForeignKey("customer_id", "customer", "id"),)
    assert [column.name for column in tables["spending"].columns] == ["customer_id", "total"]


def test_rows_come_in_order_with_their_column_names(backend):
    table = backend.execute("SELECT id, name AS who FROM customer ORDER BY id DESC", max_rows=9)
    assert table.columns == ("id", "who")
    assert table.rows == ((3, None), (2, "Zoë"), (1, "Ada"))
    assert table.complete


def test_cells_are_plain_values(backend):
    sql = (
        "SELECT 7, CAST(0.5 AS DOUBLE PRECISION), 'a', NULL, count(*), sum(amount), max(name)"
        " FROM sale JOIN customer ON customer.id = customer_id WHERE amount > 1"
    )
    table = backend.execute(sql, max_rows=1)
    assert table.rows == ((7, 0.5, "a", None, 2, 6.5, "Ada"),)
    assert [type(cell) for cell in table.rows[0]] == [int, float, str, type(None), int, float, str]


@pytest.mark.parametrize(("max_rows", "complete"), [(0, False), (2, False), (3, True), (9, True)])
def test_rows_are_cut_at_the_limit_and_the_cut_is_told(backend, max_rows, complete):
    table = backend.execute("SELECT id FROM sale ORDER BY id", max_rows=max_rows)
    assert table.rows == ((1,), (2,), (3,))[:max_rows]
    assert table.complete is complete


def test_few_rows_of_many_are_asked_for(backend):
    tables = ", ".join(f"sale s{number}" for number in range(8))  # 3 ** 8 rows
    table = backend.execute(f"SELECT 7 FROM {tables}", max_rows=3)
    assert (table.rows, table.complete) == (((7,),) * 3, False)


def test_an_empty_result_keeps_its_columns(backend):
    empty = backend.execute("SELECT id, name FROM customer WHERE id > 9", max_rows=5)
    assert (empty.columns, empty.rows, empty.complete) == (("id", "name"), (), True)


def test_reads_name_tables_and_columns_of_the_schema(backend):
    table = backend.execute("SELECT NAME FROM Customer WHERE id > 0", max_rows=5)
    assert table.reads == {("customer", "name"), ("customer", "id")}
    assert backend.execute("SELECT count(*) FROM sale", max_rows=1).reads == {("sale", "")}
    assert backend.execute("SELECT 1", max_rows=1).reads == frozenset()


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO sale VALUES (9, 9, 9)",
        "UPDATE sale SET amount = 0",
        "DELETE FROM sale",
        "DROP TABLE sale",
        "CREATE TABLE pwn (x INTEGER)",
        "CREATE TEMP TABLE customer (x INTEGER)",
        "CREATE VIEW pwn AS SELECT 1",
        "ALTER TABLE sale ADD COLUMN pwn INTEGER",
        "BEGIN",
        "COMMIT",
        "ATTACH 'pwn.db' AS pwn",
        "EXPLAIN SELECT 1",
        "SELECT random()",
        "SELECT 1; SELECT 2",
    ],
)
def test_what_is_not_one_select_is_refused_and_changes_nothing(backend, url, sql):
    assert refusal(backend, sql).outcome in (CallOutcome.NOT_ALLOWED, CallOutcome.SQL_ERROR)
    after = open_backend(url, LIMITS)
    assert after.execute("SELECT sum(amount), count(*) FROM sale", max_rows=1).rows == ((6.6, 3),)
    assert [table.name for table in after.schema()] == ["customer", "sale", "spending"]
    after.close()


@pytest.mark.parametrize("sql", ["DELETE FROM sale", "DROP TABLE sale", "SELECT 1; SELECT 2"])
def test_a_write_is_told_from_a_mistake(backend, sql):
    assert refusal(backend, sql).outcome is CallOutcome.NOT_ALLOWED


@pytest.mark.parametrize(
    "sql",
    ["", "  ", "-- nothing", "/* nothing */", "SELEC 1", "SELECT nme FROM customer", "SELECT '\0'"],
)
def test_a_mistake_is_an_sql_error_with_a_message(backend, sql):
    error = refusal(backend, sql)
    assert error.outcome is CallOutcome.SQL_ERROR
    assert str(error)


def test_a_lone_surrogate_is_an_sql_error(backend):
    assert refusal(backend, "SELECT '\ud800'").outcome is CallOutcome.SQL_ERROR


def test_a_statement_too_long_is_an_sql_error(backend):
    sql = "SELECT 1 --" + LIMITS.sql_characters * "x"
    assert refusal(backend, sql).outcome is CallOutcome.SQL_ERROR


def test_an_endless_statement_is_stopped_and_the_next_one_runs(hurried):
    assert refusal(hurried, ENDLESS).outcome is CallOutcome.TIMEOUT
    assert hurried.execute("SELECT 7", max_rows=1).rows == ((7,),)


def test_one_long_call_is_stopped_and_the_next_statement_runs(hurried):
    sql = LONG_CALLS[hurried.url.split(":")[0]]
    for _ in range(2):  # a busy machine delays one run, not two
        started = perf_counter()
        assert refusal(hurried, sql).outcome is CallOutcome.TIMEOUT
        late = perf_counter() - started - HURRIED.seconds
        if late < 1:
            break
    assert late < 1
    assert hurried.execute("SELECT 7", max_rows=1).rows == ((7,),)


def test_a_worker_that_dies_is_replaced_and_its_statement_is_answered_with_an_error(url):
    limits = Limits(seconds=60.0, vm_steps=10**12, memory_mb=267)
    backend, pool = open_backend(url, limits), worker_pool(url.split(":")[0], 267)
    for _ in range(2):
        answer = backend.submit(ENDLESS, max_rows=1)
        while not (busy := pool.pids(busy=True)):
            threading.Event().wait(0.001)
        os.kill(busy[0], 9)
        error = answer.exception(timeout=50)
        assert isinstance(error, ToolError) and error.outcome is CallOutcome.SQL_ERROR
        assert "died" in str(error)
        assert backend.execute("SELECT max(id) FROM sale", max_rows=1).rows == ((3,),)
    backend.close()


def test_duckdb_writes_no_file_and_names_none(write_database):
    url = write_database("duckdb", "shop", SCRIPT)
    folder = Path(url.removeprefix("duckdb:///")).parent
    spill = "SELECT count(DISTINCT a.i::VARCHAR || b.i) FROM range(3000) a(i), range(3000) b(i)"
    backend = open_backend(url, Limits(seconds=30.0, memory_mb=64))
    for sql in (spill, "SELECT * FROM 'shop.duckdb'", f"SELECT * FROM read_text('{folder}/x')"):
        assert str(folder) not in str(refusal(backend, sql))
        assert [file.name for file in folder.iterdir()] == ["shop.duckdb"]
    backend.close()


def test_now_is_refused_or_the_same_at_any_time(backend):
    try:
        table = backend.execute("SELECT CURRENT_TIMESTAMP", max_rows=1)
    except ToolError as error:
        assert error.outcome is CallOutcome.NOT_ALLOWED
    else:
        assert str(table.rows[0][0]).startswith("2025-01-01 00:00:00")


def test_every_function_that_postgresql_itself_calls_volatile_is_refused(postgresql):
    import psycopg

    with psycopg.connect(postgresql) as connection:
        found = connection.execute(
            "SELECT DISTINCT proname FROM pg_proc JOIN pg_type r ON r.oid = prorettype"
            " WHERE provolatile = 'v' AND prokind = 'f'"
            " AND pronamespace = 'pg_catalog'::regnamespace"
            " AND 'internal'::regtype != ALL (proargtypes) AND r.typname !~ 'trigger|handler'"
        ).fetchall()
    names = {name for (name,) in found} - {"amvalidate", "plpgsql_validator"}  # of definitions
    passed = []
    for name in names:
        try:
            checked(f"SELECT {name}('x')", "postgres")
            passed.append(name)
        except Refused as refusal:
            assert refusal.kind == "not_allowed"
    assert len(names) > 100 and passed == []


def test_a_comment_and_a_semicolon_behind_are_fine(backend):
    assert backend.execute("SELECT 1; -- done", max_rows=1).rows == ((1,),)


def test_submit_gives_what_execute_gives(backend, hurried):
    pending = [backend.submit(sql, max_rows=5) for sql in ("SELECT 1", "SELEC")]
    pending.append(hurried.submit(ENDLESS, max_rows=5))
    assert pending[0].result() == backend.execute("SELECT 1", max_rows=5)
    outcomes = [future.exception().outcome for future in pending[1:]]
    assert outcomes == [CallOutcome.SQL_ERROR, CallOutcome.TIMEOUT]


def test_the_same_statement_has_the_same_answer(backend, url):
    other = open_backend(url, LIMITS)
    for sql in ("SELECT * FROM sale ORDER BY amount", "SELECT * FROM spending ORDER BY total"):
        answers = [b.execute(sql, max_rows=5) for b in (backend, backend, other)]
        assert answers[0] == answers[1] == answers[2]
        assert isinstance(answers[0], Table)
    other.close()


def test_a_copy_by_pickle_works(backend):
    copy = pickle.loads(pickle.dumps(backend))
    assert copy.url == backend.url
    assert copy.execute("SELECT count(*) FROM sale", max_rows=1).rows == ((3,),)
    copy.close()


def test_close_twice_is_harmless_and_a_closed_backend_says_so(url):
    backend = open_backend(url, LIMITS)
    backend.close()
    backend.close()
    with pytest.raises(EnvironmentFault, match="closed"):
        backend.execute("SELECT 1", max_rows=1)


def test_a_missing_database_is_our_fault(url):
    with pytest.raises(EnvironmentFault):
        open_backend(url.replace("shop", "nowhere"), LIMITS)


def test_the_url_of_a_backend_opens_it_again(backend):
    again = open_backend(backend.url, LIMITS)
    assert again.url == backend.url
    assert again.schema() == backend.schema()
    again.close()


def test_a_plain_path_is_an_sqlite_file(write_database, monkeypatch):
    path = write_database("sqlite", "shop", SCRIPT).removeprefix("sqlite:///")
    folder, name = path.rsplit("/", 1)
    monkeypatch.chdir(folder)
    for url in (path, name, f"sqlite:///{name}"):
        backend = open_backend(url)
        assert backend.execute("SELECT count(*) FROM sale", max_rows=1).rows == ((3,),)
        backend.close()


def test_an_unknown_engine_is_named_with_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'sqlite'"):
        open_backend("sqlte:///shop.sqlite")

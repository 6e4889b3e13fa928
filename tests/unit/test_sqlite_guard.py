"""What the guard lets through, refuses and reports; the same in this process and in a worker."""

import os
import signal
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlite_files import write

from text2sql_gym.backends import answers
from text2sql_gym.backends.sqlite import SqliteBackend
from text2sql_gym.backends.sqlite_clock import NOW, may_read_clock
from text2sql_gym.backends.sqlite_guard import LIGHT, Escalate, GuardedConnection
from text2sql_gym.errors import ToolError
from text2sql_gym.types import CallOutcome, Limits

LIMITS = Limits(seconds=60.0, vm_steps=2_000_000)
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("guard") / "shop #1?.sqlite")


@pytest.fixture(scope="module", params=[False, True], ids=["light", "isolated"])
def backend(path, request):
    backend = SqliteBackend(path, LIMITS, isolated=request.param, cached=False)
    yield backend
    backend.close()


def refusal(backend, sql, max_rows=10):
    with pytest.raises(ToolError) as caught:
        backend.execute(sql, max_rows=max_rows)
    return caught.value


def test_a_result_has_columns_in_order_and_rows_in_order(backend):
    table = backend.execute('SELECT Name, "zip code" AS zip FROM customer ORDER BY 1', max_rows=9)
    assert table.columns == ("Name", "zip")
    assert table.rows == (("Ada", "10115"), ("Ben", None), ("Cleo", "75001"))
    assert table.complete


@pytest.mark.parametrize(("max_rows", "complete"), [(0, False), (2, False), (3, True), (4, True)])
def test_rows_are_cut_at_the_limit_and_the_cut_is_told(backend, max_rows, complete):
    table = backend.execute("SELECT id FROM Customer ORDER BY id", max_rows=max_rows)
    assert table.rows == ((1,), (2,), (3,))[:max_rows]
    assert table.complete is complete


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT NAME FROM CUSTOMER", {("Customer", "Name")}),
        ("SELECT count(*) FROM SALE", {("sale", "")}),
        ("SELECT count(*) FROM sale WHERE amount > 1", {("sale", "amount")}),
        ("SELECT rowid FROM sale", {("sale", "id")}),
        ("SELECT 1", set()),
        ("WITH t AS (SELECT Name FROM customer) SELECT count(*) FROM t", {("Customer", "Name")}),
        ("SELECT name FROM sqlite_master", set()),
        ("SELECT value FROM json_each('[1]')", set()),
        (
            "SELECT total FROM spending",
            {
                ("spending", "total"),
                ("sale", "amount"),
                ("sale", "customer_id"),
            },
        ),
    ],
)
def test_reads_are_the_columns_the_engine_read_in_the_schemas_spelling(backend, sql, reads):
    once, again = (backend.execute(sql, max_rows=10).reads for _ in range(2))
    assert once == reads == again


@pytest.mark.parametrize(
    ("sql", "outcome", "message"),
    [
        ("", CallOutcome.SQL_ERROR, "empty or only a comment"),
        (" -- nothing", CallOutcome.SQL_ERROR, "empty or only a comment"),
        ("/* open", CallOutcome.SQL_ERROR, "empty or only a comment"),
        ("SELECT 1\0", CallOutcome.SQL_ERROR, "NUL"),
        ("SELECT '\ud800'", CallOutcome.SQL_ERROR, "not valid Unicode"),
        ("SELECT 1; SELECT 2", CallOutcome.NOT_ALLOWED, "more than one statement"),
        ("SELECT ?", CallOutcome.SQL_ERROR, "no value"),
        ("SELECT nme FROM Customer", CallOutcome.SQL_ERROR, "no such column: nme"),
        ("SELEC 1", CallOutcome.SQL_ERROR, "syntax error"),
        ("SELECT " + "x" * 20_001, CallOutcome.SQL_ERROR, "longer than 20000 characters"),
        ("SELECT random()", CallOutcome.NOT_ALLOWED, "random()"),
        ("SELECT load_extension('x')", CallOutcome.NOT_ALLOWED, "load_extension()"),
        ("DELETE FROM sale", CallOutcome.NOT_ALLOWED, "only SELECT"),
        ("REINDEX", CallOutcome.NOT_ALLOWED, "only SELECT"),
        ("/* a */ EXPLAIN SELECT 1", CallOutcome.NOT_ALLOWED, "only SELECT"),
        ("PRAGMA table_info(sale)", CallOutcome.NOT_ALLOWED, "only SELECT"),
        (ENDLESS, CallOutcome.TIMEOUT, "too many steps"),
    ],
)
def test_a_mistake_is_told_in_plain_words(backend, sql, outcome, message):
    error = refusal(backend, sql)
    assert error.outcome is outcome
    assert message in str(error)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1;",
        "SELECT 1 -- done",
        ";;SELECT 1",
        "VALUES (1)",
        "SELECT 'explain', 'with'",
        "SELECT explain FROM (SELECT 1 AS explain)",
        "SELECT 1 AS value WHERE 'a' LIKE 'A' AND 'a' GLOB '[a]'",
        "SELECT printf('%d', 1), trim(' a '), json_group_array(1)",
        "SELECT name FROM sqlite_schema WHERE type = 'table'",
        "SELECT count(*) FROM (SELECT DISTINCT customer_id FROM sale) AS completed",
        "SELECT row_number() OVER (PARTITION BY customer_id ORDER BY id) FROM sale",
    ],
)
def test_an_ordinary_statement_is_not_refused(backend, sql):
    assert backend.execute(sql, max_rows=10).rows


def test_the_step_limit_stops_the_same_statement_every_time_and_only_there(path):
    sql = "SELECT count(*) FROM sale a, sale b, sale c, sale d, sale e, sale f, sale g"
    outcomes = []
    for vm_steps in (3_000, 3_000, 100_000, 100_000):
        backend = SqliteBackend(path, Limits(vm_steps=vm_steps, seconds=60), cached=False)
        try:
            outcomes.append(backend.execute(sql, max_rows=1).rows)
        except ToolError as error:
            outcomes.append(error.outcome)
        backend.close()
    assert outcomes == [CallOutcome.TIMEOUT] * 2 + [((3**7,),)] * 2


def test_text_that_is_not_utf8_is_read_with_replacement_characters(tmp_path):
    path = write(
        tmp_path / "latin.sqlite",
        "CREATE TABLE city(name); INSERT INTO city VALUES (CAST(x'4bf66c6e' AS TEXT)), ('Ulm')",
    )
    for isolated in (False, True):
        backend = SqliteBackend(path, LIMITS, isolated=isolated, cached=False)
        names = backend.execute("SELECT name FROM city", max_rows=9).rows
        assert names == (("K\ufffdln",), ("Ulm",))
        assert backend.execute("SELECT 'ö' FROM city", max_rows=1).rows == (("ö",),)
        backend.close()


def test_a_result_that_weighs_too_much_is_cut(path):
    backend = SqliteBackend(path, LIMITS, cached=False)
    sql = "SELECT hex(zeroblob(400000)) FROM sale a, sale b, sale c, sale d"  # 81 x 0.8 MB
    table = backend.execute(sql, max_rows=1_000)
    assert (len(table.rows), table.complete) == (39, False)
    late = "WITH n AS (SELECT a.id FROM sale a, sale b, sale c, sale d, sale e, sale f, sale g)"
    sql = f"{late} SELECT iif(row_number() OVER () < 2000, 'x', hex(zeroblob(400000))) FROM n"
    table = backend.execute(sql, max_rows=2_100)  # the rows after the small ones
    assert (len(table.rows), table.complete) == (1_999 + 39, False)
    backend.close()


def test_what_weighs_too_much_for_this_process_is_passed_on(path):
    guard = GuardedConnection(str(path), LIGHT)
    tables = ", ".join(f"sale s{number}" for number in range(9))  # 3 ** 9 rows
    sql = f"SELECT hex(s0.id || hex(zeroblob(900))) FROM {tables}"  # of 3.6 kB
    _, rows, complete, _ = guard.run(sql, 7_900, vm_steps=10**9, seconds=60.0)
    assert (len(rows), complete) == (7_900, False)
    with pytest.raises(Escalate):
        guard.run(sql, 10_000, vm_steps=10**9, seconds=60.0)
    guard.close()


def test_a_result_with_too_many_cells_is_cut(path, monkeypatch):
    monkeypatch.setattr(answers, "RESULT_CELLS", 20)
    guard = GuardedConnection(str(path), LIGHT)
    sql = "SELECT a.id, b.id FROM sale a, sale b, sale c"  # 27 rows of two cells
    columns, rows, complete, _ = guard.run(sql, 1_000, vm_steps=10**6, seconds=9.0)
    assert (len(columns), len(rows), complete) == (2, 10, False)
    guard.close()


def test_rows_fetched_in_several_chunks_are_all_there(path, monkeypatch):
    guard = GuardedConnection(str(path), LIGHT._replace(first_cells=2))
    sql = "SELECT a.id, b.id FROM sale a, sale b, sale c, sale d"
    for max_rows in (80, 81, 82):
        _, rows, complete, _ = guard.run(sql, max_rows, vm_steps=10**6, seconds=9.0)
        assert (len(rows), complete) == (min(81, max_rows), max_rows >= 81)
    guard.close()


def test_the_wall_clock_stops_what_the_steps_do_not(path):
    backend = SqliteBackend(path, Limits(seconds=0.2, vm_steps=10**12), cached=False)
    assert refusal(backend, ENDLESS).outcome is CallOutcome.TIMEOUT
    backend.close()


def test_memory_is_bounded(path):
    backend = SqliteBackend(path, Limits(seconds=20, memory_mb=16, vm_steps=10**9), cached=False)
    series = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"
    error = refusal(backend, f"{series} SELECT count(DISTINCT i || hex(zeroblob(99))) FROM n")
    assert (error.outcome, str(error)) == (CallOutcome.SQL_ERROR, "out of memory")
    assert backend.execute("SELECT trim('a')", max_rows=1).rows == (("a",),)
    backend.close()


@pytest.mark.parametrize(
    "sql",
    [
        "WITH t AS (SELECT 1) SELECT * FROM t",
        "SELECT * FROM Spending",
        "SELECT trim(Name) FROM Customer",
        "SELECT hex(zeroblob(3000))",
        "SELECT date('now')",
        "SELECT date('n' || 'ow')",
        "SELECT 1 WHERE 'a' LIKE '" + 101 * "a" + "'",
        "SELECT 1 -- " + 2_000 * "x",
        "SELECT count(*) FROM sale" + ", sale" * 10,
    ],
)
def test_what_might_run_long_is_passed_on_by_the_light_tier(path, sql):
    guard = GuardedConnection(str(path), LIGHT)
    with pytest.raises(Escalate):
        guard.run(sql, 10, vm_steps=20_000, seconds=9.0)
    guard.close()


def test_an_interrupt_from_the_keyboard_is_not_lost_inside_sqlite(path):
    guard = GuardedConnection(str(path), LIGHT)
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    sql = "SELECT count(*) FROM sale" + ", sale" * 25
    try:
        with pytest.raises(KeyboardInterrupt):
            guard.run(sql, 10, vm_steps=10**12, seconds=30.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        guard.close()


def test_what_stands_behind_the_authorizer_holds_without_it(tmp_path):
    script = "CREATE TABLE t(a); CREATE VIEW v AS SELECT file FROM pragma_database_list;"
    guard = GuardedConnection(str(write(tmp_path / "t.sqlite", script)), LIGHT)
    guard._connection.set_authorizer(None)
    for sql, message in (
        ("INSERT INTO t VALUES (1)", "readonly"),
        ("CREATE TEMP TABLE x(a)", "readonly"),
        ("ATTACH ':memory:' AS m", "too many attached"),
        ("SELECT * FROM v", "unsafe use"),
    ):
        with pytest.raises(sqlite3.OperationalError, match=message):
            guard._connection.execute(sql)
    guard.close()


class TestClock:
    @pytest.mark.parametrize(
        ("expression", "value"),
        [
            ("CURRENT_DATE", "2025-01-01"),
            ("CURRENT_TIME", "00:00:00"),
            ("CURRENT_TIMESTAMP", NOW),
            ("date()", "2025-01-01"),
            ("datetime ( /* no argument */ )", NOW),
            ("strftime('%Y')", "2025"),
            ("date('now')", "2025-01-01"),
            ("DATE('NOW', '-1 day')", "2024-12-31"),
            ("time('now', '+90 minutes')", "01:30:00"),
            ("datetime('now', 'localtime')", NOW),
            ("strftime('%Y-%m', 'now', 'start of year', '-1 month')", "2024-12"),
            ("CAST(strftime('%Y', 'now') AS INTEGER) - 1990", 35),
            ("julianday('now') - julianday('2024-12-31')", 1.0),
            ("unixepoch('now')", 1735689600),
            ("unixepoch()", 1735689600),
            ("date('n' || 'ow')", "2025-01-01"),
            ("date(x'6e6f77')", "2025-01-01"),
            ("date(CAST(x'6e6f77' AS TEXT))", "2025-01-01"),
            ("date(NULL)", None),
            ("date('2020-02-29', '+1 year')", "2021-03-01"),
            ("date('nonsense')", None),
        ],
    )
    def test_now_is_a_constant_in_every_form(self, backend, expression, value):
        assert backend.execute(f"SELECT {expression}", max_rows=1).rows == ((value,),)

    @pytest.mark.parametrize("isolated", [False, True])
    def test_no_cell_and_no_view_brings_the_clock_back(self, tmp_path, monkeypatch, isolated):
        monkeypatch.setenv("TZ", "America/New_York")
        path = write(
            tmp_path / "now.sqlite",
            "CREATE TABLE t (id INTEGER, at TEXT, zone TEXT, raw BLOB, long TEXT);"
            "INSERT INTO t VALUES (1, 'NOW', 'localtime', x'6e6f77', 'nowhere');"
            "INSERT INTO t VALUES (2, '2020-03-04 05:06:07', '+1 day', x'00', 'far');"
            "CREATE VIEW a AS SELECT date('now') AS d; CREATE VIEW b AS SELECT d FROM a;"
            "CREATE VIEW c AS SELECT 'now' AS word; CREATE VIEW e AS SELECT CURRENT_DATE AS d;"
            "CREATE VIEW f AS SELECT datetime(at) AS d FROM t",
        )
        backend = SqliteBackend(path, LIMITS, isolated=isolated)
        today, then = "2025-01-01", "2020-03-04 05:06:07"
        for sql, rows in {
            "SELECT date(at) FROM t": [(today,), (then[:10],)],
            "SELECT date(x) FROM (SELECT at AS x FROM t WHERE id = 1)": [(today,)],
            "SELECT id FROM t WHERE datetime(at) > '2024'": [(1,)],
            "SELECT date(raw) FROM t WHERE id = 1": [(today,)],
            "SELECT date(substr(long, 1, 3)) FROM t WHERE id = 1": [(today,)],
            f"SELECT datetime('{then}', zone) FROM t WHERE id = 1": [(then,)],
            "SELECT d FROM b": [(today,)],
            "SELECT date(word) FROM c": [(today,)],
            "SELECT d FROM e": [(today,)],
            "SELECT d FROM f": [(NOW,), (then,)],
        }.items():
            assert backend.execute(sql, max_rows=5).rows == tuple(rows), sql
        backend.close()

    def test_a_date_of_cells_without_such_words_stays_in_this_process(self, path):
        guard = GuardedConnection(path, LIGHT)
        sql = "SELECT date(Name), date(id) FROM Customer WHERE id = 1"
        for _ in range(2):
            assert guard.run(sql, 1, vm_steps=10**5, seconds=60.0)[1] == [(None, "-4713-11-25")]
        guard.close()

    def test_the_constants_are_what_sqlite_makes_of_now(self):
        connection = sqlite3.connect(":memory:")
        sql = "SELECT date(?1), time(?1), datetime(?1), julianday(?1), unixepoch(?1)"
        row = connection.execute(sql, (NOW,)).fetchone()
        assert row == ("2025-01-01", "00:00:00", NOW, 2460676.5, 1735689600)
        connection.close()

    @settings(max_examples=60, deadline=None)
    @given(
        name=st.sampled_from(["date", "time", "datetime", "julianday", "unixepoch"]),
        time=st.one_of(st.dates().map(str), st.integers(-(10**6), 10**7), st.text(max_size=4)),
        modifiers=st.lists(
            st.sampled_from(["+1 day", "start of month", "weekday 1", "unixepoch", "-5 years"]),
            max_size=2,
        ),
    )
    def test_every_other_time_is_what_plain_sqlite_says(self, backend, name, time, modifiers):
        if isinstance(time, str) and may_read_clock(time):
            return
        texts = [str(value).replace("'", "''").replace("\0", "") for value in (time, *modifiers)]
        arguments = ", ".join(f"'{text}'" for text in texts)
        sql = f"SELECT {name}({arguments}), 'now'"  # the word sends it to the stopped clock
        connection = sqlite3.connect(":memory:")
        try:
            expected = connection.execute(sql).fetchall()
            assert backend.execute(sql, max_rows=1).rows == tuple(expected)
        finally:
            connection.close()


WORDS = (
    "SELECT FROM WHERE GROUP BY ORDER LIMIT JOIN ON UNION ALL DISTINCT AS WITH RECURSIVE VALUES"
    " INSERT INTO UPDATE DELETE DROP TABLE PRAGMA ATTACH VACUUM EXPLAIN CREATE VIEW BEGIN REINDEX"
    " sale Customer spending id Name amount \"zip code\" sqlite_master json_each n i"
    " count(*) sum(amount) date('now') random() trim(Name) group_concat(Name) abs(id) zeroblob(9)"
    " * , ( ) = < || + - ; 'x' 1 2.5 NULL x'00' ? :a -- /* */ NOT IN EXISTS CASE WHEN THEN END"
).split(" ")


class TestAnyText:
    @settings(max_examples=150, deadline=None)
    @given(
        st.one_of(
            st.text(max_size=40),
            st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join),
            st.lists(st.sampled_from(WORDS), max_size=8).map(lambda w: " ".join(["SELECT", *w])),
        )
    )
    def test_it_is_answered_the_same_way_here_and_in_a_worker(self, path, sql):
        before = path.read_bytes(), sorted(os.listdir(path.parent))
        answers = []
        for isolated in (False, True):
            backend = SqliteBackend(path, LIMITS, isolated=isolated, cached=False)
            try:
                answers.append(backend.execute(sql, max_rows=5))
            except ToolError as error:
                answers.append((error.outcome, str(error)))
                assert str(path.parent) not in str(error)
        assert answers[0] == answers[1]
        assert (path.read_bytes(), sorted(os.listdir(path.parent))) == before

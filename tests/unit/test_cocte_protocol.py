"""Chains of views: how they are read, run and credited."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text2sql_gym.backends import open_backend
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.errors import ToolError
from text2sql_gym.protocols.cocte import CoCte
from text2sql_gym.tools import TOOLS
from text2sql_gym.tools.cte_chain import MOST_VIEWS, read_chain, run_views
from text2sql_gym.types import CallOutcome, Limits, Task, ToolCall

COUNT = "SELECT count(*) FROM sale"
CHAIN = "WITH cities AS (SELECT city FROM sale), many AS (SELECT count(*) AS n FROM cities)"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("shop") / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE sale (id INTEGER PRIMARY KEY, city TEXT);"
            "INSERT INTO sale (city) VALUES ('Oslo'), ('Rome'), ('Rome');"
        )
    return str(path)


@pytest.fixture(scope="module")
def backend(path):
    backend = open_backend(path, Limits(vm_steps=1_000_000))
    yield backend
    backend.close()


def run(tool, backend, sql, **limits):
    return TOOLS[tool](backend, {"sql": sql}, Limits(**limits))


class TestReading:
    @pytest.mark.parametrize(
        ("sql", "names", "rest"),
        [
            ("WITH a AS (SELECT 1)", ["a"], ""),
            ("with a as(select 1),b as(select 2)", ["a", "b"], ""),
            (f"{CHAIN} SELECT n FROM many;", ["cities", "many"], "SELECT n FROM many;"),
            ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)", ["n"], ""),
            ("WITH recursive AS (SELECT 1) SELECT 2", ["recursive"], "SELECT 2"),
            ('WITH "a b" (x, y) AS (SELECT 1, (2)), [c] AS (SELECT 3)', ['"a b"', "[c]"], ""),
            ("WITH a AS MATERIALIZED (SELECT 1), b AS NOT MATERIALIZED (SELECT 2)", ["a", "b"], ""),
            ("WITH a AS (SELECT ')') SELECT 1", ["a"], "SELECT 1"),
            ('WITH a AS (SELECT ")" -- )\n /* ) */), b AS (SELECT 2)', ["a", "b"], ""),
            ("-- first\nWITH a AS (SELECT 1) ; -- done", ["a"], ""),
        ],
    )
    def test_a_chain_has_its_views_in_order_and_what_follows(self, sql, names, rest):
        chain = read_chain(sql, Limits())
        assert ([name for name, _ in chain.views], chain.rest) == (names, rest)

    @pytest.mark.parametrize(
        "sql",
        ["", "SELECT 1", "WITH", "WITH a", "WITH a AS", "WITH a AS (SELECT 1", "WITH a (SELECT 1)",
         "WITH a AS (SELECT 1),", "WITH a AS SELECT 1", "WITH (a) AS (SELECT 1)", "a AS (SELECT 1)",
         "WITH a(x AS (SELECT 1)"],
    )  # fmt: skip
    def test_any_other_text_is_told_what_a_chain_is(self, sql):
        with pytest.raises(ToolError, match=r"expected a chain of views: WITH name AS") as caught:
            read_chain(sql, Limits())
        assert caught.value.outcome is CallOutcome.MALFORMED

    @settings(deadline=None)
    @given(st.lists(st.sampled_from(["WITH", "a", "AS", "(", ")", ",", ";", "'", "SELECT 1"])))
    def test_any_text_is_a_chain_or_refused(self, words):
        try:
            chain = read_chain(" ".join(words), Limits())
        except ToolError:
            return
        for place in range(len(chain.views)):
            again = read_chain(chain.query(place), Limits())
            assert again.views == chain.views[: place + 1]
            assert again.rest.startswith("SELECT * FROM")

    @pytest.mark.parametrize("piece", ["WITH a AS (", "a AS (SELECT 1),", "(", ")", "'", '"', "/*"])
    def test_a_text_far_beyond_the_limit_is_read_in_linear_time(self, piece):
        # a quadratic reader would need minutes for these
        limits = Limits(sql_characters=200_000)
        for sql in (piece * (100_000 // len(piece)), f"WITH {piece * (100_000 // len(piece))}"):
            try:
                read_chain(sql, limits)
            except ToolError:
                pass

    def test_a_text_that_is_too_long_is_not_read(self):
        with pytest.raises(ToolError, match="more than 20 characters"):
            read_chain("WITH a AS (SELECT 1), b AS (SELECT 2)", Limits(sql_characters=20))


class TestRunning:
    def test_every_prefix_is_a_result_of_its_own(self, backend):
        result = run("run_ctes", backend, CHAIN)
        assert [view.name for view in result.views] == ["cities", "many"]
        assert result.views[0].table.rows == (("Oslo",), ("Rome",), ("Rome",))
        assert result.views[1].table.rows == ((3,),)
        assert result.table == result.views[1].table and result.text == "n\n3\n(1 row)"
        assert (result.outcome, result.final) == (CallOutcome.OK, False)

    def test_a_later_view_does_not_help_an_earlier_one(self, backend):
        # SQLite takes the whole: its views may come in any order
        sql = "WITH many AS (SELECT count(*) AS n FROM cities), cities AS (SELECT city FROM sale)"
        assert backend.execute(f"{sql} SELECT n FROM many", max_rows=5).rows == ((3,),)
        result = run("run_ctes", backend, sql)
        assert [view.table for view in result.views] == [None]
        assert "view many: no such table: cities" in result.text

    def test_it_stops_at_the_first_view_that_fails_and_says_which(self, backend):
        sql = f"{CHAIN}, bad AS (SELECT nme FROM many), c AS (SELECT 1)"
        result = run("run_ctes", backend, sql)
        assert [view.outcome for view in result.views] == ["ok", "ok", "sql_error"]
        assert result.views[2].error == "no such column: nme"
        assert result.text.startswith("Error: view bad: no such column: nme")
        assert (result.outcome, result.table) == (CallOutcome.SQL_ERROR, None)

    def test_rows_that_are_not_shown_are_kept(self, backend):
        result = run("run_ctes", backend, "WITH a AS (SELECT id FROM sale)", shown_rows=1)
        assert result.text == "id\n1\n(1 rows shown of 3)" and len(result.views[0].table.rows) == 3
        cut = run("run_ctes", backend, "WITH a AS (SELECT id FROM sale)", tool_rows=2)
        assert cut.views[0].outcome is cut.outcome is CallOutcome.TRUNCATED

    def test_an_endless_view_is_cut_and_an_endless_count_stopped(self, backend):
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        result = run("run_ctes", backend, f"{endless}, c AS (SELECT count(*) FROM n)")
        assert [view.outcome for view in result.views] == ["truncated", "timeout"]

    @pytest.mark.parametrize(
        ("sql", "told"),
        [
            (f"{CHAIN} SELECT n FROM many", "expected nothing behind the last view"),
            (COUNT, "expected a chain of views"),
            (
                f"WITH {', '.join(f'a{n} AS (SELECT 1)' for n in range(MOST_VIEWS + 1))}",
                f"expected at most {MOST_VIEWS} views, got {MOST_VIEWS + 1}",
            ),
        ],
    )
    def test_only_a_chain_is_run(self, backend, sql, told):
        with pytest.raises(ToolError, match=told) as caught:
            run("run_ctes", backend, sql)
        assert caught.value.outcome is CallOutcome.MALFORMED

    def test_a_write_in_a_view_is_refused(self, backend):
        result = run("run_ctes", backend, "WITH a AS (DELETE FROM sale RETURNING id)")
        assert result.views[0].table is None and result.error
        assert backend.execute(COUNT, max_rows=1).rows == ((3,),)


class TestSubmitting:
    def test_the_answer_and_every_view_are_kept(self, backend):
        result = run("submit_ctes", backend, f"{CHAIN} SELECT n FROM many")
        assert result.final and result.table.rows == ((3,),)
        assert [len(view.table.rows) for view in result.views] == [3, 1]

    @pytest.mark.parametrize("sql", [COUNT, "nonsense", ""])
    def test_an_answer_without_a_chain_is_judged_and_has_no_views(self, backend, sql):
        result = run("submit_ctes", backend, sql)
        assert result.final and result.views == ()
        assert (result.table is not None) == (sql == COUNT)

    def test_no_more_views_are_run_than_a_chain_may_have(self, backend):
        many = ", ".join(f"a{n} AS (SELECT {n})" for n in range(MOST_VIEWS + 4))
        result = run("submit_ctes", backend, f"WITH {many} SELECT * FROM a19")
        assert len(result.views) == MOST_VIEWS and result.table.rows == ((19,),)

    def test_a_view_that_fails_alone_costs_no_right_answer(self, backend):
        sql = "WITH unused AS (SELECT nme FROM sale), a AS (SELECT 1) SELECT count(*) FROM sale"
        result = run("submit_ctes", backend, sql)
        assert [view.table for view in result.views] == [None]
        assert (result.table is None) == (result.error is not None)


def test_a_reward_sees_the_views_of_a_trial_and_of_the_answer(path):
    seen = []

    def spy(transition):
        seen.append([view.table is not None for view in transition.result.views])
        return 0.0

    scheme = {"outcome": {"execution_match": 1.0}, "process": {"spy": 1.0}, "own": {"spy": spy}}
    protocol = CoCte()
    task = Task("t", path, "?", (COUNT,))
    with Text2SQLEnv(tasks=[task], protocol=protocol, rewards=scheme) as env:
        env.reset()
        for call in (
            ToolCall("run_ctes", {"sql": f"{CHAIN}, bad AS (SELECT nme)"}),
            ToolCall("submit_ctes", {"sql": f"{CHAIN} SELECT n FROM many"}),
        ):
            *_, info = env.step(protocol.write(call, "so"))
        assert info["outcome"] == "match"
        assert seen == [[True, True, False], [True, True]]


def test_each_turn_that_adds_a_sound_view_is_paid_for_it(path):
    first = "WITH cities AS (SELECT city FROM sale WHERE id > 0)"
    chain = f"{first}, many AS (SELECT count(*) AS n FROM cities)"
    scheme = {"outcome": {"execution_match": 1.0}, "process": {"cte_validity": 1.0}}
    task = Task("t", path, "?", (COUNT,))
    with Text2SQLEnv(tasks=[task], protocol="cocte", rewards=scheme) as env:
        env.reset()
        paid = []
        for tool, sql in (
            ("run_ctes", first),
            ("run_ctes", first),
            ("run_ctes", f"{first}, bad AS (SELECT nme FROM cities)"),
            ("run_ctes", chain),
            ("submit_ctes", f"{chain} SELECT n FROM many"),
        ):
            *_, info = env.step(env.protocol.write(ToolCall(tool, {"sql": sql})))
            paid.append(info["reward_terms"]["cte_validity"])
    assert paid == [1.0, 0.0, 0.0, 1.0, 1.0] and info["outcome"] == "match"


def test_a_result_never_names_a_view_as_a_tag(backend):
    result = run("run_ctes", backend, 'WITH "</result>" AS (SELECT nme)')
    assert "</result>" not in result.text and "&lt;/result>" in result.text
    assert run_views(read_chain("WITH a AS (SELECT 1)", Limits()), backend, Limits())[0].table

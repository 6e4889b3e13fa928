"""What `check_tasks` says about gold queries, and the exit codes of its command."""

import json
import sqlite3
from contextlib import closing

import pytest

from text2sql_gym.checks import Problem, check_tasks, main, play_tasks
from text2sql_gym.errors import UnknownName
from text2sql_gym.matching import Gold
from text2sql_gym.types import Limits, Task

LIMITS = Limits(vm_steps=2_000_000, compared_rows=50)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("checks") / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER, day TEXT)")
        rows = [(number, "2001-01-01") for number in range(60)]
        connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
        connection.commit()
    return str(path)


def problems(database, *golds):
    report = check_tasks([Task("one", database, "?", golds)], limits=LIMITS)
    return [found.problem for found in report.findings], report.without_full_reward


ENDLESS = "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n"


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT a FROM lost", Problem.ERROR),
        ("DELETE FROM t", Problem.ERROR),
        (ENDLESS, Problem.TIMEOUT),
        ("SELECT a FROM t", Problem.TOO_LARGE),
    ],
)
def test_a_gold_that_fails_cannot_earn_the_full_reward(database, sql, problem):
    assert problems(database, sql) == ([problem], ("one",))


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT a FROM t WHERE a > 99", Problem.EMPTY),
        ("SELECT date('now')", Problem.VOLATILE),
        ("SELECT COUNT(*) FROM t WHERE day < CURRENT_DATE", Problem.VOLATILE),
        ("SELECT strftime('%Y', 'now')", Problem.VOLATILE),
        ("SELECT datetime( )", Problem.VOLATILE),
    ],
)
def test_a_gold_that_is_empty_or_volatile_is_a_warning(database, sql, problem):
    assert problems(database, sql) == ([problem], ())


@pytest.mark.parametrize(
    "sql",
    ["SELECT COUNT(*) FROM t", "SELECT 'now'", "SELECT 'random()', 'current_date'",
     "SELECT date(day) FROM t WHERE a = 1"],
)
def test_a_sound_gold_is_not_reported(database, sql):
    assert problems(database, sql) == ([], ())


def test_one_failing_gold_among_several_costs_the_task_its_reward(database):
    found = problems(database, "SELECT COUNT(*) FROM t", "SELECT a FROM lost")
    assert found == ([Problem.ERROR], ("one",))


def test_a_task_without_gold_is_reported(database):
    assert problems(database) == ([Problem.NO_GOLD], ("one",))


IMPOSSIBLE = "SELECT a FROM t WHERE a > 5 AND a < 5"


@pytest.mark.parametrize(
    ("sql", "matcher", "problem"),
    [
        ("SELECT a FROM t WHERE a > 99", "bird_ex", Problem.UNPROVED),
        (IMPOSSIBLE, "strict", Problem.UNPROVED),
        ("SELECT a FROM t WHERE a > 99", "strict", Problem.EMPTY),  # compared on a copy with rows
    ],
)
def test_an_empty_gold_that_proves_nothing_cannot_earn_the_full_reward(
    database, sql, matcher, problem
):
    task = Task("one", database, "?", (sql,), empty_proves_nothing=True)
    report = check_tasks([task], matcher, LIMITS)
    assert [found.problem for found in report.findings] == [problem]
    played = play_tasks([task], matcher, LIMITS)
    lost = ("one",) if problem is Problem.UNPROVED else ()
    assert report.without_full_reward == played.without_full_reward == lost


def test_a_flagged_gold_with_rows_is_not_reported(database):
    task = Task("one", database, "?", ("SELECT COUNT(*) FROM t",), empty_proves_nothing=True)
    assert check_tasks([task], limits=LIMITS).findings == ()


def test_a_database_that_cannot_be_opened_is_reported_for_each_of_its_tasks(tmp_path):
    away = str(tmp_path / "away.sqlite")
    tasks = [Task("one", away, "?", ("SELECT 1",)), Task("two", away, "?", ("SELECT 1",))]
    report = check_tasks(tasks)
    assert [found.problem for found in report.findings] == [Problem.DATABASE] * 2
    assert report.without_full_reward == ("one", "two")
    assert "away.sqlite" in report.findings[0].detail


class NeverPleased:
    """A matcher that finds everything half right."""

    def prepare(self, sql, database, limits):
        return None

    def __call__(self, sql, table, gold, database, limits):
        return 0.5


class HalfPleased(NeverPleased):
    """The same, with a gold result that an episode can be held over."""

    def prepare(self, sql, database, limits):
        return Gold(sql, database.execute(sql, max_rows=1))


def test_a_gold_that_does_not_match_itself_is_reported(database):
    report = check_tasks([Task("one", database, "?", ("SELECT 1",))], NeverPleased())
    assert [found.problem for found in report.findings] == [Problem.UNREWARDED]
    assert report.without_full_reward == ("one",)


def test_golds_played_as_episodes_are_paid_or_reported_with_the_reason(database):
    golds = {
        "paid": ("SELECT COUNT(*) FROM t", "SELECT a FROM t WHERE a > 99"),
        "broken": ("SELECT a FROM lost",),
        "without": (),
        "unwritable": ("SELECT '</final_sql>' FROM t WHERE a = 1",),
    }
    tasks = [Task(name, database, "?", sqls) for name, sqls in golds.items()]
    report = play_tasks(tasks, limits=LIMITS)
    assert [(found.task_id, found.problem) for found in report.findings] == [
        ("broken", Problem.ERROR), ("without", Problem.NO_GOLD), ("unwritable", Problem.UNREWARDED)
    ]
    assert "no such table: lost" in report.findings[0].detail
    assert "its episode ends as no_submission expected" in report.findings[2].detail
    assert check_tasks(tasks[3:], limits=LIMITS).findings == ()  # the protocol cannot write it


def test_episodes_are_judged_by_the_matcher_that_is_given(database):
    (found,) = play_tasks([Task("one", database, "?", ("SELECT 1",))], HalfPleased()).findings
    assert (found.problem, found.detail) == (Problem.UNREWARDED, "its episode ends as mismatch")


def test_findings_keep_the_order_of_the_tasks_over_several_databases(database, tmp_path):
    away = str(tmp_path / "away.sqlite")
    tasks = [
        Task(f"task {n}", database if n % 2 else away, "?", ("SELECT a FROM lost",))
        for n in range(4)
    ]
    report = check_tasks(tasks)
    assert [found.task_id for found in report.findings] == [f"task {n}" for n in range(4)]


def test_the_summary_counts_tasks_and_problems(database):
    golds = ["SELECT COUNT(*) FROM t", "SELECT a FROM lost", "SELECT a FROM t WHERE a > 99"]
    tasks = [Task(str(n), database, "?", (sql,)) for n, sql in enumerate(golds)]
    assert check_tasks(tasks).summary() == (
        "3 tasks, 1 cannot earn the full reward; problems: error 1, empty 1"
    )
    assert check_tasks(tasks[:1]).summary() == (
        "1 tasks, 0 cannot earn the full reward; problems: none"
    )


def test_a_misspelt_matcher_is_named():
    with pytest.raises(UnknownName, match="Did you mean 'strict'"):
        check_tasks([], "strikt")


@pytest.fixture
def folder(tmp_path):
    with closing(sqlite3.connect(tmp_path / "shop.sqlite")) as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.commit()
    return tmp_path


def write(folder, *golds):
    lines = [json.dumps({"db_id": "shop", "question": "?", "SQL": sql}) for sql in golds]
    (folder / "train.jsonl").write_text("\n".join(lines))


def run(folder, *more):
    return main(["--dataset", "records", "--data-dir", str(folder), "--split", "train", *more])


def test_the_command_exits_with_0_when_all_is_well(folder, capsys):
    write(folder, "SELECT a FROM t", "SELECT a FROM t WHERE a > 5")
    assert run(folder) == 0
    assert capsys.readouterr().out == (
        "records/train/1: empty: no rows\n    SELECT a FROM t WHERE a > 5\n"
        "2 tasks, 0 cannot earn the full reward; problems: empty 1\n"
    )


def test_the_command_exits_with_1_when_a_task_cannot_be_won(folder, capsys):
    write(folder, "SELECT b FROM t", "SELECT c FROM t")
    assert run(folder, "--show", "1") == 1
    shown = capsys.readouterr().out
    assert "records/train/0: error" in shown and "records/train/1" not in shown
    assert "... and 1 more" in shown


def test_the_command_exits_with_2_when_the_data_is_missing(tmp_path, capsys):
    assert run(tmp_path) == 2
    assert str(tmp_path / "train.jsonl") in capsys.readouterr().err


def test_the_command_plays_episodes_on_request(folder, capsys):
    write(folder, "SELECT a FROM t WHERE a > 5", "SELECT '</final_sql>' FROM t")
    assert run(folder) == 0
    assert run(folder, "--episodes") == 1
    assert "problems: unrewarded 1\n" in capsys.readouterr().out


def test_limits_and_options_are_given_as_json(folder):
    write(folder, "SELECT a FROM t UNION ALL SELECT a FROM t")
    assert run(folder) == 0
    assert run(folder, "--limits", '{"compared_rows": 1}') == 1
    assert run(folder, "--options", '{"file": "away.jsonl"}') == 2

"""Recorded cases of SkyRL-SQL's and SQL-R1's rewards and of Spider's comparison of results.

This package has no such composite rewards: form is the protocol's business (a malformed turn is
an observation and a term of its own), and the outcome is what the matcher says. So the execution
part is run through the matchers here, and the composites are deliberate differences.
"""

import json
import sqlite3
from contextlib import closing

import pytest
from sql_vector_cases import execution_match_of
from vector_cases import close, differs, each_case, load

from text2sql_gym.errors import GoldError, ToolError
from text2sql_gym.matching.spider_test_suite import SpiderTestSuite
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.rewards.execution_match import execution_match
from text2sql_gym.types import EpisodeOutcome, Task, ToolResult, Transition

FILE = "sql_rewards.json"
SETUP = [
    "CREATE TABLE t(a INTEGER, b TEXT)",
    "INSERT INTO t VALUES (1,'x'),(2,'y'),(2,'y'),(3,NULL)",
    "CREATE TABLE e(c INTEGER)",
]


def solution_of(case):
    return case["args"]["completion"].rsplit("<solution>", 1)[1].split("</solution>")[0]


def skyrl_execution(case, path):
    sql, gold = solution_of(case), case["args"]["reference"]
    close(execution_match_of(sql, [gold], SETUP, path), case["out"]["reward"])


@differs("a wrong form is -1 for the whole episode there; here the turn is malformed and goes on")
def skyrl_form(case, path):
    assert case["out"]["reward"] == -1.0
    with pytest.raises(ToolError):
        FineStep().parse(case["args"]["completion"])


@differs("a gold query that fails is paid 0 there; here it is our fault and raises")
def skyrl_gold_error(case, path):
    assert case["out"]["reward"] == 0.0
    with pytest.raises(GoldError):
        execution_match_of("SELECT a FROM t", [case["args"]["reference"]], SETUP, path)


def skyrl_delete(case, path):
    assert execution_match_of("DELETE FROM t", ["SELECT a FROM t"], SETUP, path) == 0.0
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (case["out"],)


OUTCOMES = {
    "Match": EpisodeOutcome.MATCH,
    "Mismatch": EpisodeOutcome.MISMATCH,
    "Unexecutable": EpisodeOutcome.PREDICTED_ERROR,
    "TIMEOUT": EpisodeOutcome.PREDICTED_ERROR,
    "Gold Error": EpisodeOutcome.NO_SUBMISSION,  # a fault at reset: the episode never begins
}


@differs("sums form, execution, result and length, and pays more for a broken gold than a mismatch")
def sql_r1(case, path):
    outcome = OUTCOMES[case["args"]["exec_status"]]
    task = Task("t", "db.sqlite", "?")
    final = ToolResult("", final=True)
    ours = execution_match(Transition(task, (), None, final, outcome=outcome))
    assert ours == (1.0 if case["args"]["exec_status"] == "Match" else 0.0)
    assert isinstance(case["out"], float | int)


def rows_as_sql(rows, *, ordered):
    """A query that gives these rows; with an outer ORDER BY only for the matcher to see."""
    if not rows:
        return "SELECT c FROM e"
    values = ", ".join("(" + ", ".join(map(json.dumps, row)) + ")" for row in rows)
    columns = ", ".join(f"column{place + 1}" for place in range(len(rows[0])))
    order = " ORDER BY 'constant'" if ordered else ""
    return f"SELECT {columns} FROM (VALUES {values}){order}"


def spider_equal(case, path):
    args = case["args"]
    predicted, gold = (
        rows_as_sql(args[f"result{place}"], ordered=args["order_matters"]) for place in (2, 1)
    )
    ours = execution_match_of(predicted, [gold], SETUP, path, SpiderTestSuite())
    assert bool(ours) == case["out"]


FORM = {
    "no_solution",
    "two_solutions",
    "no_think",
    "tag_in_solution",
    "multi_turn_missing_think_after_obs",
    "solution_tag_inside_observation",
    "uppercase_tags",
}
CHECKS = {
    "skyrl_*": skyrl_execution,
    "skyrl_gold_error": skyrl_gold_error,
    "skyrl_rows_left_after_delete": skyrl_delete,
    "sqlr1_*": sql_r1,
    "spider_result_eq_*": spider_equal,
} | {f"skyrl_{name}": skyrl_form for name in FORM}


@each_case(FILE, CHECKS)
def test_sql_rewards(check, case, tmp_path):
    check(case, tmp_path / "main.sqlite")


def test_every_case_of_a_wrong_form_is_known():
    recorded = {
        case["name"].removeprefix("skyrl_")
        for case in load(FILE)[1]
        if isinstance(case["out"], dict) and case["out"].get("format_ok") is False
    }
    assert recorded == FORM

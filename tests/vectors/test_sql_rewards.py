"""Recorded cases of SkyRL-SQL's and SQL-R1's rewards and of Spider's comparison of results.

The execution part is run through the matchers. Form is the protocol's business here: a malformed
turn is an observation, and the terms of these papers count it as a broken form. The length of a
right answer, which SQL-R1 pays as well, is left out.
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
from text2sql_gym.rewards.graded_outcome import skyrl_sql_outcome, sql_r1_outcome
from text2sql_gym.types import CallOutcome, EpisodeOutcome, Task, ToolResult, Transition, Turn

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
    right = execution_match_of(sql, [gold], SETUP, path)
    outcome = EpisodeOutcome.MATCH if right else EpisodeOutcome.MISMATCH
    final = ToolResult("", final=True)
    term = skyrl_sql_outcome(Transition(Task("t", "db", "?"), (), None, final, outcome=outcome))
    close(term, case["out"]["reward"])


def skyrl_form(case, path):
    with pytest.raises(ToolError) as raised:
        FineStep().parse(case["args"]["completion"])
    result = ToolResult("", raised.value.outcome)
    term = skyrl_sql_outcome(Transition(Task("t", "db", "?"), (), None, result))
    close(term, case["out"]["reward"])


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


def sql_r1_term(case):
    """Our term for a submission with the recorded outcome."""
    outcome = OUTCOMES[case["args"]["exec_status"]]
    final = ToolResult("", final=True)
    return sql_r1_outcome(Transition(Task("t", "db", "?"), (), None, final, outcome=outcome))


def sql_r1(case, path):
    close(sql_r1_term(case), case["out"])


@differs("a right answer also earns up to 1 for its length")
def sql_r1_right(case, path):
    assert sql_r1_term(case) == 6.0 < case["out"] < 7.0


@differs("a gold query that fails is paid 1 there; here it is our fault and raises")
def sql_r1_gold_error(case, path):
    assert sql_r1_term(case) == 0.0 < case["out"]


def sql_r1_form(case, path):
    """A wrong form costs 1, whatever the answer is worth."""
    broken = ToolResult("", CallOutcome.MALFORMED)
    task, final = Task("t", "db", "?"), ToolResult("", final=True)
    first = Transition(task, (), None, broken)
    then = Transition(
        task, (), None, final, (Turn(None, broken),), OUTCOMES[case["args"]["exec_status"]]
    )
    close(sql_r1_outcome(first) + sql_r1_outcome(then), case["out"])


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
    "sqlr1_gold_error_status": sql_r1_gold_error,
    "sqlr1_bad_format_two_think": sql_r1_form,
    "sqlr1_no_code_fence": sql_r1_form,
    "spider_result_eq_*": spider_equal,
} | {f"skyrl_{name}": skyrl_form for name in FORM}
CHECKS |= {f"sqlr1_{name}": sql_r1_right for name in ("match", "long_match", "mid_match")}


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

"""Matchers on the gold queries of Spider's dev split."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from experiments.sql_mutants import RIGHT, rewritten
from text2sql_gym.backends import open_backend
from text2sql_gym.datasets import load_tasks
from text2sql_gym.errors import ToolError
from text2sql_gym.matching import MATCHERS
from text2sql_gym.matching.strict import Strict
from text2sql_gym.types import Limits

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("TEXT2SQL_DATA" not in os.environ, reason="TEXT2SQL_DATA is not set"),
]
EXACT = ["strict", "bird_ex", "spider_test_suite", "soft_f1"]


@pytest.fixture(scope="module")
def tasks():
    return load_tasks("spider", Path(os.environ["TEXT2SQL_DATA"]) / "spider", "dev")


@pytest.mark.parametrize("name", EXACT)
def test_every_gold_query_is_a_right_answer(name, tasks):
    matcher, limits, refused = MATCHERS[name](), Limits(), []
    for task in tasks:
        backend, sql = open_backend(task.database, limits), task.gold_sql[0]
        gold = matcher.prepare(sql, backend, limits)
        table = backend.execute(sql, max_rows=limits.compared_rows)
        if matcher(sql, table, gold, backend, limits) < 1.0:
            refused.append(sql)
        backend.close()
    assert refused == []


def test_no_answer_in_other_words_is_refused(tasks):
    matcher, limits, refused, accepted = Strict(variants=4), Limits(), [], 0
    for task in tasks[::5]:
        backend = open_backend(task.database, limits)
        gold = matcher.prepare(task.gold_sql[0], backend, limits)
        for _, sql in rewritten(task.gold_sql[0], RIGHT):
            try:
                table = backend.execute(sql, max_rows=limits.compared_rows)
            except ToolError:  # not every rewrite is a query
                continue
            if matcher(sql, table, gold, backend, limits) == 1.0:
                accepted += 1
            else:
                refused.append(sql)
        backend.close()
    assert refused == [] and accepted > 100

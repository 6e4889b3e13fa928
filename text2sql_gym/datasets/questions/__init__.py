"""Questions with gold SQL made from a profiled schema, at graded difficulty."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from random import Random

from text2sql_gym.datasets.questions.easy import EASY
from text2sql_gym.datasets.questions.joins import JOINS
from text2sql_gym.datasets.questions.medium import MEDIUM
from text2sql_gym.datasets.questions.nested import NESTED
from text2sql_gym.datasets.questions.profile import DatabaseProfile, profile_database
from text2sql_gym.datasets.questions.template import Question, Template, make_question

__all__ = [
    "GRADES",
    "TEMPLATES",
    "DatabaseProfile",
    "Question",
    "Template",
    "make_questions",
    "profile_database",
]

TEMPLATES: Mapping[str, Template] = {
    template.name: template for template in (*EASY, *MEDIUM, *NESTED, *JOINS)
}

GRADES: Mapping[str, int] = {"easy": 5, "medium": 6, "hard": 5, "extra": 4}
"""The grades with their weights. easy: one table, at most one filter spelt as stored, or one
aggregate. medium: groups, order with a limit, two conditions, distinct, a value to look up.
hard: one join, having, nesting, a looked-up value with an aggregate. extra: two joins, a join with
groups and a limit, set operations."""

_LOOKED_UP = 0.4
"""Share of the draws above easy that go to templates with a value to look up."""

_TRIES = 6  # draws per question before the generator gives up on it

_Pools = dict[tuple[str, bool], list[Template]]


def make_questions(
    profile: DatabaseProfile, connection: sqlite3.Connection, random: Random, count: int
) -> tuple[Question, ...]:
    """Return up to `count` questions, no two with the same gold query.

    A template comes back, beyond its weight, only when the others of its kind had their turn on
    this database. A small database may give fewer than `count`.
    """
    questions: dict[str, Question] = {}
    pools: _Pools = {}
    for _ in range(count * 3):
        if len(questions) == count:
            break
        grade = random.choices(tuple(GRADES), tuple(GRADES.values()))[0]
        looked_up = grade != "easy" and random.random() < _LOOKED_UP
        for _ in range(_TRIES):
            template = _next_template(pools, (grade, looked_up), random)
            question = make_question(template, profile, connection, random)
            if question is not None:
                questions.setdefault(question.sql, question)
                break
    return tuple(questions.values())


def _next_template(pools: _Pools, kind: tuple[str, bool], random: Random) -> Template:
    """Take a template of that grade, looked up or not; refill its pool when it is empty."""
    if not pools.get(kind):
        fitting = [t for t in TEMPLATES.values() if (t.grade, t.looked_up) == kind]
        pools[kind] = [template for template in fitting for _ in range(template.weight)]
        random.shuffle(pools[kind])
    return pools[kind].pop()

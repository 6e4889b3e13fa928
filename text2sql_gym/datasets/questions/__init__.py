"""Questions with gold SQL made from a profiled schema, at graded difficulty."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from random import Random

from text2sql_gym.datasets.questions.easy import EASY
from text2sql_gym.datasets.questions.joins import JOINS
from text2sql_gym.datasets.questions.medium import MEDIUM
from text2sql_gym.datasets.questions.nested import NESTED
from text2sql_gym.datasets.questions.profile import DatabaseProfile, profile_database
from text2sql_gym.datasets.questions.template import Question, Template, make_question
from text2sql_gym.registry import lookup

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

_Kind = tuple[str, bool]
_Pools = dict[_Kind, list[Template]]


def make_questions(
    profile: DatabaseProfile,
    connection: sqlite3.Connection,
    random: Random,
    count: int,
    templates: Sequence[str] = (),
) -> tuple[Question, ...]:
    """Return up to `count` questions, no two with the same gold query.

    `templates` names those of `TEMPLATES` to use, each as often as it is named; empty means all,
    by the weights of `GRADES`. A template comes back, beyond its weight, only when the others of
    its kind had their turn on this database. A small database may give fewer than `count`.
    """
    used = [lookup(TEMPLATES, name, "template") for name in templates or TEMPLATES]
    questions: dict[str, Question] = {}
    pools: _Pools = {}
    for _ in range(count * 3):
        if len(questions) == count:
            break
        kind = _kind(random.choice(used)) if templates else _draw_kind(random)
        for _ in range(_TRIES):
            template = _next_template(pools, kind, used, random)
            question = make_question(template, profile, connection, random)
            if question is not None:
                questions.setdefault(question.sql, question)
                break
    return tuple(questions.values())


def _draw_kind(random: Random) -> _Kind:
    """Draw a grade by its weight, and whether a value must be looked up."""
    grade = random.choices(tuple(GRADES), tuple(GRADES.values()))[0]
    return grade, grade != "easy" and random.random() < _LOOKED_UP


def _kind(template: Template) -> _Kind:
    return template.grade, template.looked_up


def _next_template(
    pools: _Pools, kind: _Kind, templates: Sequence[Template], random: Random
) -> Template:
    """Take a template of that kind; refill its pool when it is empty."""
    if not pools.get(kind):
        fitting = [template for template in templates if _kind(template) == kind]
        pools[kind] = [template for template in fitting for _ in range(template.weight)]
        random.shuffle(pools[kind])
    return pools[kind].pop()

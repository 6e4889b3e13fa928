"""What a template is, and how one becomes a question whose gold query has been run."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from random import Random

from text2sql_gym.datasets.questions.draw import NoFit, Slots, draw_slots
from text2sql_gym.datasets.questions.profile import DatabaseProfile

_MAX_ROWS = 60
_DRAWS = 5


@dataclass(frozen=True)
class Template:
    """A kind of question: what to draw, how to ask, what the answer is.

    `steps` are those of `draw.STEPS`. `order` is a query for the sort keys of a result that is
    cut by a LIMIT, in the order of the cut: they must differ down to one row below it. `weight`
    says how often the template is tried; above 1 for those that few databases suit.
    """

    name: str
    grade: str
    steps: tuple[str, ...]
    sql: str
    wordings: tuple[str, ...]
    order: str = ""
    weight: int = 1

    @property
    def looked_up(self) -> bool:
        """Whether a value of the question is spelt otherwise than it is stored."""
        return self.name.startswith("lookup_")


@dataclass(frozen=True)
class Question:
    """One question with its gold query; `template` and `grade` are those of its template."""

    template: str
    grade: str
    text: str
    sql: str


def make_question(
    template: Template, profile: DatabaseProfile, connection: sqlite3.Connection, random: Random
) -> Question | None:
    """Draw a few times; return the first clear question, or None when there is none.

    A gold query is kept when it gives 1 to 60 rows, no NULL and not the single number 0, and
    when its LIMIT cuts between two different sort keys. A progress handler of `connection` that
    interrupts it rules it out, too.
    """
    for _ in range(_DRAWS):
        try:
            slots = draw_slots(profile, template.steps, random)
        except NoFit:
            continue
        if _is_clear(template, slots, connection):
            text = random.choice(template.wordings).format(**slots)
            return Question(template.name, template.grade, text, template.sql.format(**slots))
    return None


def _is_clear(template: Template, slots: Slots, connection: sqlite3.Connection) -> bool:
    try:
        rows = connection.execute(template.sql.format(**slots)).fetchmany(_MAX_ROWS + 1)
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):  # the caller's budget of engine steps is spent
            return False
        raise
    if not 1 <= len(rows) <= _MAX_ROWS or any(cell is None for row in rows for cell in row):
        return False
    if rows == [(0,)]:
        return False
    return not template.order or _clear_cut(connection, template.order.format(**slots), len(rows))


def _clear_cut(connection: sqlite3.Connection, order: str, kept: int) -> bool:
    """Return whether the first `kept` + 1 sort keys all differ (so there is a row to cut off)."""
    keys = connection.execute(order).fetchmany(kept + 1)
    return len(keys) == kept + 1 == len(set(keys)) and (None,) not in keys

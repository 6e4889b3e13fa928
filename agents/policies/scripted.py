"""Policies that are scripts: they know the gold query, and serve as demonstrations and references.

A script is a function from a task, its schema and a random generator to the turns of one
episode, written in the two-mode protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from text2sql_gym.lookups import lookups, spelt
from text2sql_gym.prompts import quoted
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.types import Schema, Task

Script = Callable[[Task, Schema, np.random.Generator], list[str]]


def gold(task: Task, schema: Schema, draws: np.random.Generator) -> list[str]:
    """Submit the first gold query at once."""
    return [FineStep.answer("answer", task.gold_sql[0])]


@dataclass(frozen=True)
class Analyst:
    """A careful but wasteful analyst: looks values up, and also things that nobody needs.

    Before the answer it looks up the values of every column that the gold query compares with a
    text the question does not contain; that is the one step the task calls for. Around it, each
    with its own probability, it

    spare_look    looks at the first rows of a table, needed or not
    spare_values  looks up values the question already spells
    trial         runs the final query before submitting it
    slip          makes a mistake in that trial run, sees the error, and repairs it
    repeat        runs an earlier call again
    wrong         submits a query that lacks a condition or asks for another column

    so that demonstrations hold the steps worth taking and the steps worth losing.
    """

    spare_look: float = 0.5
    spare_values: float = 0.3
    trial: float = 0.5
    slip: float = 0.2
    repeat: float = 0.3
    wrong: float = 0.0
    max_turns: int = 7

    def __call__(self, task: Task, schema: Schema, draws: np.random.Generator) -> list[str]:
        """Write the turns of one episode."""
        sql = task.gold_sql[0]
        calls: list[tuple[str, str]] = []
        if draws.random() < self.spare_look:
            calls.append(_look(schema, draws))
        for lookup in lookups(sql):
            if not spelt(lookup.value, task.question) or draws.random() < self.spare_values:
                calls.append((f"values of {lookup.column}", lookup.probe))
        if draws.random() < self.trial:
            if draws.random() < self.slip:
                calls.append(("try it", _slip(sql, draws)))
            calls.append(("try it", sql))
        if calls and draws.random() < self.repeat:
            place = int(draws.integers(len(calls)))
            calls.insert(int(draws.integers(place, len(calls))) + 1, calls[place])
        turns = [FineStep.call(reason, query) for reason, query in calls[: self.max_turns - 1]]
        final = _wrong(sql, schema, draws) if draws.random() < self.wrong else sql
        return [*turns, FineStep.answer("answer", final)]


def _look(schema: Schema, draws: np.random.Generator) -> tuple[str, str]:
    table = schema[int(draws.integers(len(schema)))].name
    return f"look at {table}", f"SELECT * FROM {quoted(table)} LIMIT 2"


def _slip(sql: str, draws: np.random.Generator) -> str:
    """The query with one identifier misspelt, as a hasty typist would."""
    words = [word for word in sql.split() if word.islower() and word.isidentifier()]
    if not words:
        return f"{sql} WHERE"
    word = words[int(draws.integers(len(words)))]
    return sql.replace(word, f"{word}s" if not word.endswith("s") else word[:-1], 1)


def _wrong(sql: str, schema: Schema, draws: np.random.Generator) -> str:
    head, where, tail = sql.partition(" WHERE ")
    if where and " " in tail:
        return head
    table = schema[int(draws.integers(len(schema)))]
    column = table.columns[int(draws.integers(len(table.columns)))].name
    return f"SELECT {quoted(column)} FROM {quoted(table.name)}"


SCRIPTS: dict[str, Script] = {
    "gold": gold,
    "analyst": Analyst(),
}

"""Policies that are scripts: they know the gold query, and serve as demonstrations and references.

A script is a function from a task, its schema and a random generator to the turns of one
episode, written in the two-mode protocol.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from text2sql_gym.lookups import lookups, spelt
from text2sql_gym.prompts import quoted
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.rewards.statements import named_in
from text2sql_gym.tools.propose_schema import write_proposal
from text2sql_gym.types import Schema, TableSchema, Task, ToolCall

Script = Callable[[Task, Schema, np.random.Generator], list[str]]


def gold(task: Task, schema: Schema, draws: np.random.Generator) -> list[str]:
    """Submit the first gold query at once."""
    return [FineStep.answer("answer", task.gold_sql[0])]


@dataclass(frozen=True)
class Analyst:
    """A wasteful and sometimes hasty analyst: looks up what nobody needs, and not all it should.

    Before the answer it looks up the values of every column that the gold query compares with a
    text the question does not contain; that is the one step the task calls for. Around it, each
    with its own probability, it

    spare_look    looks at some rows of the first table, needed or not
    spare_values  looks up values the question already spells
    trial         runs the final query before submitting it
    slip          misspells a name in the last call before the answer, sees the error, repairs it
    repeat        runs an earlier call again
    wrong         submits a query that lacks a condition or asks for another column
    haste         leaves the needed look-ups out, and writes values as the question says them
    extra         adds a table's first column to a list that the question did not ask it for
    propose       proposes the schema that its answer names, in the turn before it

    so that demonstrations hold the steps worth taking and the steps worth losing. The reasoning of
    every turn but a look repeats the question: a small model that writes the words it needs right
    before the query finds them again whatever stands in between.
    """

    spare_look: float = 0.7
    spare_values: float = 0.4
    trial: float = 0.15
    slip: float = 0.2
    repeat: float = 0.5
    wrong: float = 0.0
    haste: float = 0.0
    extra: float = 0.0
    propose: float = 0.0
    max_turns: int = 7

    def __call__(self, task: Task, schema: Schema, draws: np.random.Generator) -> list[str]:
        """Write the turns of one episode."""
        sql = task.gold_sql[0]
        calls: list[tuple[str, str]] = []
        if draws.random() < self.spare_look:
            calls.append(_look(schema[0]))
        hasty = draws.random() < self.haste
        for lookup in lookups(sql):
            known = spelt(lookup.value, task.question)
            if not known and hasty:
                sql = sql.replace(_text(lookup.value), _text(_said(lookup.value, task.question)))
            elif not known or draws.random() < self.spare_values:
                calls.append((task.question, lookup.probe))
        if draws.random() < self.extra:
            sql = _with_first_column(sql, schema)
        if draws.random() < self.trial:
            calls.append((task.question, sql))
        if calls and draws.random() < self.slip:
            reason, query = calls[-1]
            calls.insert(-1, (reason, _slip(query, draws)))
        if calls and draws.random() < self.repeat:
            place = int(draws.integers(len(calls)))
            calls.insert(int(draws.integers(place, len(calls))) + 1, calls[place])
        final = _wrong(sql, schema, draws) if draws.random() < self.wrong else sql
        last = [FineStep.answer(task.question, final)]
        named = sorted(named_in(schema, final, task.database))
        if self.max_turns > 1 and named and draws.random() < self.propose:
            proposal = ToolCall("propose_schema", {"schema": write_proposal(named)})
            last.insert(0, FineStep().write(proposal, task.question))
        fitting = calls[: self.max_turns - len(last)]
        return [*(FineStep.call(reason, query) for reason, query in fitting), *last]


def _said(value: str, question: str) -> str:
    """The longest run of the question's words that a stored value is made of, else its letters."""
    stored = f" {_plain(value)} "
    words = re.findall(r"\w+", question)
    runs = [
        " ".join(words[start:end])
        for start in range(len(words))
        for end in range(start + 1, len(words) + 1)
    ]
    found = [run for run in runs if f" {_plain(run)} " in stored]
    return max(found, key=len, default=_plain(value))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[^\W\d_]+", text.lower()))


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _look(table: TableSchema) -> tuple[str, str]:
    return f"look at {table.name}", f"SELECT * FROM {quoted(table.name)} LIMIT 2"


def _with_first_column(sql: str, schema: Schema) -> str:
    """``SELECT name FROM shop`` as ``SELECT id, name FROM shop``; other forms stay as they are."""
    found = re.match(r"SELECT (\w+) FROM (\w+)", sql)
    tables = {quoted(table.name): quoted(table.columns[0].name) for table in schema}
    first = tables.get(found[2]) if found else None
    if found is None or first is None or first == found[1]:
        return sql
    return f"SELECT {first}, {sql.removeprefix('SELECT ')}"


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

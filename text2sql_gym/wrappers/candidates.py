"""Candidate answers of a menu: the gold query and look-alikes that differ in one comparison.

The look-alikes are made from the gold query, so a menu can only be made of a task that has one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

from text2sql_gym.backends.base import Backend
from text2sql_gym.errors import ToolError
from text2sql_gym.lookups import Lookup, lookups, spelt, with_lookup
from text2sql_gym.matching import Gold, Matcher
from text2sql_gym.types import Limits, Task

_TRIES = 40  # draws of look-alikes before a menu stays shorter than asked for
_ALWAYS = ("respelt", "respelt")  # what the first look-alikes are, before the kinds are mixed


@dataclass(frozen=True)
class Candidate:
    """One query, and the comparison in which it differs from the others."""

    sql: str
    lookup: Lookup


@dataclass(frozen=True)
class Bench:
    """A task with its database open, to try queries on."""

    task: Task
    backend: Backend
    matcher: Matcher
    golds: tuple[Gold, ...]
    limits: Limits

    def is_right(self, sql: str) -> bool:
        """Whether a submission of `sql` would be accepted; a query that fails is not."""
        try:
            table = self.backend.execute(sql, max_rows=self.limits.compared_rows)
        except ToolError:
            return False
        return any(
            self.matcher(sql, table, gold, self.backend, self.limits) >= 1.0
            for gold in self.golds
        )

    def stored(self, lookup: Lookup) -> tuple[str, ...]:
        """Texts of the column that `lookup` compares, in order; at most ``limits.tool_rows``."""
        try:
            table = self.backend.execute(lookup.probe, max_rows=self.limits.tool_rows)
        except ToolError:
            return ()
        return tuple(sorted(str(row[0]) for row in table.rows if isinstance(row[0], str)))

    @cached_property
    def target(self) -> Lookup | None:
        """The comparison that is varied: the first that the question does not spell as stored."""
        found = lookups(self.task.gold_sql[0]) if self.task.gold_sql else []
        open_ones = [found_ for found_ in found if not spelt(found_.value, self.task.question)]
        return next(iter([*open_ones, *found]), None)

    def other_columns(self, lookup: Lookup) -> tuple[str, ...]:
        """Other text columns of the compared column's table, in declared order."""
        return tuple(
            column.name
            for table in self.backend.schema()
            if table.name.lower() == lookup.table.lower()
            for column in table.columns
            if is_text(column.type) and column.name.lower() != lookup.column.lower()
        )


def is_text(declared: str) -> bool:
    """Whether a column of this declared type is expected to hold texts, as SQLite sees it."""
    return declared == "" or any(part in declared.upper() for part in ("CHAR", "CLOB", "TEXT"))


def make_candidates(bench: Bench, count: int, random: Random) -> tuple[tuple[Candidate, ...], int]:
    """Return up to `count` candidates in random order, and the place of the right one.

    Exactly one of them would be accepted as an answer. Empty, and place -1, when the gold query
    compares no column with a text, or no look-alike of it is wrong.
    """
    target = bench.target
    if target is None:
        return (), -1
    gold = Candidate(with_lookup(bench.task.gold_sql[0], target, target), target)
    if not bench.is_right(gold.sql):
        return (), -1
    wrong: dict[Lookup, Candidate] = {}
    for decoy in _draw(bench, target, random):
        if len(wrong) == count - 1:
            break
        sql = with_lookup(gold.sql, target, decoy)
        if decoy not in wrong and decoy != target and not bench.is_right(sql):
            wrong[decoy] = Candidate(sql, decoy)
    if not wrong:
        return (), -1
    candidates = [gold, *wrong.values()]
    random.shuffle(candidates)
    return tuple(candidates), candidates.index(gold)


def _draw(bench: Bench, target: Lookup, random: Random) -> Iterator[Lookup]:
    """Draw comparisons that are near the right one, in the order in which they are wanted."""
    mixed = [*DECOYS]
    random.shuffle(mixed)
    for place in range(_TRIES):
        kinds = (*_ALWAYS, *mixed)
        kind = kinds[place] if place < len(kinds) else random.choice(mixed)
        yield from DECOYS[kind](bench, target, random)


def _respelt(bench: Bench, target: Lookup, random: Random) -> Iterator[Lookup]:
    """The value in another spelling that is not stored: other digits, case, ending or length."""
    value, stored = target.value, set(bench.stored(target))
    forms = [value.upper(), value.lower(), value.title(), value.swapcase(), f"{value}s"]
    forms += [f"{value[:3].upper()}-{value}", f"{value}."]
    if any(character.isdigit() for character in value):
        forms = [_other_digits(value, random) for _ in range(3)]
    fitting = [form for form in forms if form not in stored]
    if fitting:
        yield replace(target, value=random.choice(fitting))


def _other_digits(value: str, random: Random) -> str:
    return re.sub(r"\d", lambda _: str(random.randrange(10)), value)


def _said(bench: Bench, target: Lookup, random: Random) -> Iterator[Lookup]:
    """The words that value and question share, as the question spells them."""
    shared = words(target.value)
    said = [word for word in re.findall(r"\w+", bench.task.question) if word.lower() in shared]
    value = " ".join(dict.fromkeys(said))
    if value and value not in bench.stored(target):
        yield replace(target, value=value)


def _other_value(bench: Bench, target: Lookup, random: Random) -> Iterator[Lookup]:
    """Another value of the column."""
    others = [value for value in bench.stored(target) if value != target.value]
    if others:
        yield replace(target, value=random.choice(others))


def _other_column(bench: Bench, target: Lookup, random: Random) -> Iterator[Lookup]:
    """The right value in another column of the table."""
    others = bench.other_columns(target)
    if others:
        yield replace(target, column=random.choice(others))


DECOYS: dict[str, Callable[[Bench, Lookup, Random], Iterator[Lookup]]] = {
    "respelt": _respelt,
    "said": _said,
    "other_value": _other_value,
    "other_column": _other_column,
}
"""How look-alikes are made; each yields at most one comparison."""


def words(text: str) -> frozenset[str]:
    """The words of a text or a name, without case: letters only, two at least."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", text)
    return frozenset(word.lower() for word in re.findall(r"[^\W\d_]{2,}", spaced))

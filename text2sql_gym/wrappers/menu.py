"""What a menu is: a fixed number of actions for one task, each with its turn and its features."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from random import Random

import numpy as np
import numpy.typing as npt

from text2sql_gym.backends import open_backend
from text2sql_gym.golds import gold_results
from text2sql_gym.lookups import Lookup, spelt
from text2sql_gym.matching import Matcher
from text2sql_gym.prompts import quoted
from text2sql_gym.tools.propose_schema import write_proposal
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.types import Limits, Schema, Task
from text2sql_gym.wrappers.candidates import Bench, Candidate, is_text, make_candidates, words

FloatArray = npt.NDArray[np.float32]


class Kind(IntEnum):
    """What an action of the menu does; also the place of its one-hot feature."""

    PEEK = 0  # see the first rows of a table
    LOOK = 1  # look for the question's word among the values of a column
    TRIAL = 2  # run a candidate
    PROPOSE = 3  # propose a schema
    REPEAT = 4  # make the last call again
    SLIP = 5  # run a candidate with a slip of the pen: the engine refuses it
    SUBMIT = 6  # submit a candidate, which ends the episode


class Feature(IntEnum):
    """The features of an action after the one-hot of its kind. All lie in [0, 1].

    The first five are written when the menu is made, from task, schema and candidates; the
    others say what the episode has shown so far.
    """

    AVAILABLE = 7  # the action may be taken now
    NAMED = 8  # share of the words of its column (or table) that stand in the question
    COMPARED = 9  # share of the candidates that compare its column (or a column of its table)
    QUOTED = 10  # the question holds the candidate's value in quotes
    SAID = 11  # the question holds the candidate's value as words of its own
    WORDS = 12  # share of the words of the candidate's value that stand in the question
    SEEN = 13  # a result showed the candidate's value in its column; a look: any candidate's
    ABSENT = 14  # a whole result of its column did not show the value; a look: no candidate's
    RAN = 15  # its trial had rows to show
    EMPTY = 16  # its trial showed nothing: no row, or a single NULL or 0
    FAILED = 17  # the call was answered with an error
    TAKEN = 18  # the action was taken before in this episode
    TURNS = 19  # share of the turns that are left; the same for all actions
    ERROR = 20  # the last turn was an error or a repeat; the same for all actions


FEATURES = 21
"""numbers per action"""

Schematic = tuple[tuple[str, str], ...]
"""(table, column) pairs; a table without a column is ``(table, "")``"""


@dataclass(frozen=True)
class Sizes:
    """How many actions of each kind a menu has; what a task cannot fill stays unavailable.

    `seed` shuffles the places of all of them, together with the id of the task.
    """

    candidates: int = 5
    looks: int = 4
    peeks: int = 2
    proposals: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.candidates < 2:
            raise ValueError(f"candidates must be at least 2, got {self.candidates}")
        for name in ("looks", "peeks", "proposals"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kind of every action, in their order."""
        return (
            *[Kind.PEEK] * self.peeks,
            *[Kind.LOOK] * self.looks,
            *[Kind.TRIAL] * self.candidates,
            *[Kind.PROPOSE] * self.proposals,
            Kind.REPEAT,
            Kind.SLIP,
            *[Kind.SUBMIT] * self.candidates,
        )


@dataclass(frozen=True)
class Item:
    """One action: its kind, the turn of text it writes, and what it is about.

    `lookup` is the comparison of a candidate; for a look or a peek its column or table, with the
    text that is looked for as the value, "" where all values are shown. `place` numbers the
    candidates; `schema` holds the (table, column) pairs of a proposal.
    """

    kind: Kind
    turn: str = ""
    lookup: Lookup = Lookup("", "", "")
    place: int = -1
    schema: Schematic = ()


@dataclass(frozen=True)
class Menu:
    """The actions of one task.

    items     one per action; None where the task has too few of a kind
    template  features (actions x FEATURES) at the start of an episode
    right     number of the right candidate: for scripts and measurements, not for a policy
    reads     the schema that the gold query reads; as above
    """

    items: tuple[Item | None, ...]
    template: FloatArray
    right: int
    candidates: tuple[Candidate, ...]
    reads: Schematic

    def action(self, number: int) -> Item:
        """An action that the task has; ValueError for one that it lacks."""
        item = self.items[number]
        if item is None:
            raise ValueError(f"the task has no action {number}")
        return item

    @cached_property
    def by_turn(self) -> dict[str, int]:
        """The action that writes a turn."""
        return {item.turn: number for number, item in self._there() if item.turn}

    @cached_property
    def by_place(self) -> dict[int, tuple[int, ...]]:
        """The trial and the submission of each candidate, by its number."""
        places = range(len(self.candidates))
        return {p: tuple(n for n, item in self._there() if item.place == p) for p in places}

    @property
    def right_action(self) -> int:
        """The submission of the right candidate."""
        return self.by_place[self.right][-1]

    def _there(self) -> list[tuple[int, Item]]:
        return [(n, item) for n, item in enumerate(self.items) if item is not None]


@lru_cache(maxsize=8192)
def menu_of(task: Task, matcher: Matcher, limits: Limits, sizes: Sizes) -> Menu | None:
    """Make the menu of a task, always the same one; None when it has no text comparison to vary.

    Raises `EnvironmentFault` as `reset` would for a broken database or gold query.
    """
    random = Random(f"{sizes.seed} {task.task_id}")
    with closing(open_backend(task.database, limits)) as backend:
        golds = gold_results(task, matcher, backend, limits)
        bench = Bench(task, backend, matcher, golds, limits)
        candidates, right = make_candidates(bench, sizes.candidates, random)
        if not candidates:
            return None
        columns = _columns(bench, candidates, sizes.looks, random)
        tables = _tables(backend.schema(), candidates, sizes.peeks, random)
        proposals = _proposals(bench, candidates, sizes.proposals, random)
    by_kind = {
        Kind.PEEK: [_peek(table) for table in tables],
        Kind.LOOK: [_look(lookup) for lookup in columns],
        Kind.TRIAL: [_trial(c, place) for place, c in enumerate(candidates)],
        Kind.PROPOSE: proposals,
        Kind.REPEAT: [Item(Kind.REPEAT)],
        Kind.SLIP: [_slip(candidates[0])],
        Kind.SUBMIT: [_submit(c, place) for place, c in enumerate(candidates)],
    }
    left = {kind: iter(items) for kind, items in by_kind.items()}
    items = tuple(next(left[kind], None) for kind in sizes.kinds)
    template = _template(task.question, sizes.kinds, items, candidates)
    return Menu(items, template, right, candidates, tuple(sorted(golds[0].table.reads)))


def _columns(
    bench: Bench, candidates: tuple[Candidate, ...], count: int, random: Random
) -> list[Lookup]:
    """The columns that can be looked at: those that candidates compare, then others, shuffled.

    All are searched for the same word, the longest that question and right value share.
    """
    shared = words(bench.task.question)
    found = [word for c in candidates for word in words(c.lookup.value) if word in shared]
    word = max(sorted(set(found)), key=len, default="")
    right_first = sorted(candidates, key=lambda c: c.lookup != bench.target)
    compared = dict.fromkeys((c.lookup.table, c.lookup.column) for c in right_first)
    known = {(table.lower(), column.lower()) for table, column in compared}
    others = [
        (table.name, column.name)
        for table in bench.backend.schema()
        for column in table.columns
        if is_text(column.type) and (table.name.lower(), column.name.lower()) not in known
    ]
    random.shuffle(others)
    chosen = [*compared, *others][:count]
    random.shuffle(chosen)
    return [Lookup(table, column, word) for table, column in chosen]


def _tables(
    schema: Schema, candidates: tuple[Candidate, ...], count: int, random: Random
) -> list[str]:
    compared = list(dict.fromkeys(candidate.lookup.table for candidate in candidates))
    known = {table.lower() for table in compared}
    others = [table.name for table in schema if table.name.lower() not in known]
    random.shuffle(others)
    chosen = [*compared, *others][:count]
    random.shuffle(chosen)
    return chosen


def _proposals(
    bench: Bench, candidates: tuple[Candidate, ...], count: int, random: Random
) -> list[Item]:
    """The schema that the gold query reads, and ones with another column in its place or more."""
    target = bench.target
    assert target is not None, "there are no candidates without a target"
    reads = sorted(bench.golds[0].table.reads)
    others = [Lookup(target.table, name, "") for name in bench.other_columns(target)]
    random.shuffle(others)
    schemas = [(reads, target)]
    for other in others:  # two of them never say the same: columns differ, or how many there are
        swapped = [(t, other.column if c == target.column else c) for t, c in reads]
        schemas += [(swapped, other), ([*reads, (other.table, other.column)], other)]
    chosen = schemas[:count]
    random.shuffle(chosen)
    return [
        Item(Kind.PROPOSE, _proposal(pairs), lookup, schema=tuple(pairs))
        for pairs, lookup in chosen
    ]


def _peek(table: str) -> Item:
    sql = f"SELECT * FROM {quoted(table)} LIMIT 3"
    return Item(Kind.PEEK, FineStep.call("look at the table", sql), Lookup(table, "", ""))


def _look(lookup: Lookup) -> Item:
    condition = f" WHERE {quoted(lookup.column)} LIKE '%{lookup.value}%'" if lookup.value else ""
    sql = f"{lookup.probe}{condition}"
    return Item(Kind.LOOK, FineStep.call("look the value up", sql), lookup)


def _trial(candidate: Candidate, place: int) -> Item:
    return Item(Kind.TRIAL, FineStep.call("try it", candidate.sql), candidate.lookup, place)


def _submit(candidate: Candidate, place: int) -> Item:
    return Item(Kind.SUBMIT, FineStep.answer("answer", candidate.sql), candidate.lookup, place)


def _slip(candidate: Candidate) -> Item:
    return Item(Kind.SLIP, FineStep.call("try it", f"{candidate.sql} WHERE"), candidate.lookup)


def _proposal(pairs: list[tuple[str, str]]) -> str:
    call = {"name": "propose_schema", "arguments": {"schema": write_proposal(pairs)}}
    payload = json.dumps(call, ensure_ascii=False)
    return f"<reasoning>what the answer needs</reasoning>\n<tool_call>{payload}</tool_call>"


def _template(
    question: str,
    kinds: tuple[Kind, ...],
    items: tuple[Item | None, ...],
    candidates: tuple[Candidate, ...],
) -> FloatArray:
    """The features at the start of an episode."""
    features = np.zeros((len(kinds), FEATURES), dtype=np.float32)
    features[:, Feature.TURNS] = 1.0
    for row, kind, item in zip(features, kinds, items, strict=True):
        row[kind] = 1.0
        if item is None:
            continue
        row[Feature.AVAILABLE] = kind is not Kind.REPEAT
        about = item.lookup
        row[Feature.NAMED] = _share(words(about.column or about.table), words(question))
        row[Feature.COMPARED] = sum(_same(c.lookup, about) for c in candidates) / len(candidates)
        if kind in (Kind.TRIAL, Kind.SUBMIT):
            row[Feature.QUOTED] = any(f"{q}{about.value}{q}" in question for q in "\"'")
            row[Feature.SAID] = spelt(about.value, question)
            row[Feature.WORDS] = _share(words(about.value), words(question))
    return features


def _share(some: frozenset[str], others: frozenset[str]) -> float:
    return len(some & others) / len(some) if some else 0.0


def _same(lookup: Lookup, about: Lookup) -> bool:
    """Whether a comparison is of this column; of this table, where no column is named."""
    return lookup.table == about.table and about.column in ("", lookup.column)

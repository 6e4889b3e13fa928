"""Draw tables, columns and values for the slots of a template.

A template lists steps, each ``"slot=kind"`` or ``"slot=source.kind"``; `draw_slots` runs them in
order and fills the names that its wordings and its SQL use. For a table slot ``t``: ``{t}`` is
what a question calls it and ``{T}`` its identifier. For a column ``c``: ``{c}``, ``{C}`` and the
qualified ``{CC}``. For a value ``v``: ``{v}`` as the question says it, ``{V}`` as an SQL literal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from text2sql_gym.datasets.questions.profile import (
    ColumnProfile,
    DatabaseProfile,
    Link,
    Role,
)
from text2sql_gym.datasets.wording import identifier, literal, phrase, things

Slots = dict[str, str]
T = TypeVar("T")


class NoFit(Exception):
    """The database has nothing left that fits a step; the caller draws another template."""


@dataclass
class Draw:
    """The state of one draw: what is chosen so far, and the words made of it."""

    profile: DatabaseProfile
    random: Random
    slots: Slots = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    columns: dict[str, ColumnProfile] = field(default_factory=dict)

    def choose(self, options: Sequence[T]) -> T:
        """Return one of `options`; raises `NoFit` when there are none."""
        if not options:
            raise NoFit
        return self.random.choice(options)

    def set_table(self, slot: str, name: str) -> None:
        """Fill ``{slot}`` and ``{SLOT}`` for a table."""
        self.tables[slot] = name
        self.slots[slot] = things(name)
        self.slots[slot.upper()] = identifier(name)

    def set_column(self, slot: str, column: ColumnProfile) -> None:
        """Fill ``{slot}``, ``{SLOT}`` and ``{SLOTSLOT}`` for a column."""
        self.columns[slot] = column
        self.slots[slot] = phrase(column.name)
        self.slots[slot.upper()] = identifier(column.name)
        self.slots[slot.upper() * 2] = f"{identifier(column.table)}.{identifier(column.name)}"

    def set_value(self, slot: str, said: str, stored: str | int | float) -> None:
        """Fill ``{slot}`` as spoken and ``{SLOT}`` as SQL."""
        self.slots[slot] = said
        self.slots[slot.upper()] = literal(stored)


def draw_slots(profile: DatabaseProfile, steps: Sequence[str], random: Random) -> Slots:
    """Run the steps of a template. Raises `NoFit` when the database does not suit it."""
    draw = Draw(profile, random)
    for step in steps:
        slot, _, rest = step.partition("=")
        source, _, kind = rest.rpartition(".")
        STEPS[kind](draw, slot, source)
    return draw.slots


def _table(draw: Draw, slot: str, _: str) -> None:
    draw.set_table(slot, draw.choose(draw.profile.tables).name)


def _link(draw: Draw, slot: str, _: str) -> None:
    """``"on=link"``: `t` refers to `p`; ``{ON}`` joins them, ``{FK}`` and ``{ID}`` are the keys."""
    link = draw.choose(_usable_links(draw.profile))
    draw.set_table("t", link.child)
    draw.set_table("p", link.parent)
    draw.slots[slot.upper()] = _join(link)
    draw.slots["FK"] = identifier(link.column)
    draw.slots["ID"] = identifier(link.target)


def _chain(draw: Draw, slot: str, _: str) -> None:
    """`t` refers to `p`, which refers to `q`: each row of `t` has one row of `q`."""
    links = _usable_links(draw.profile)
    pairs = [(a, b) for a in links for b in links if a.parent == b.child and b.parent != a.child]
    _two_hops(draw, slot, draw.choose(pairs), ("t", "p", "q"))


def _star(draw: Draw, slot: str, _: str) -> None:
    """`t` refers to `p` and to `q`: rows of `p` and of `q` meet in `t`."""
    links = _usable_links(draw.profile)
    pairs = [(a, b) for a in links for b in links if a.child == b.child and a.parent != b.parent]
    _two_hops(draw, slot, draw.choose(pairs), ("t", "p", "q"))


def _two_hops(draw: Draw, slot: str, pair: tuple[Link, Link], slots: Sequence[str]) -> None:
    first, second = pair
    for name, table in zip(slots, (first.child, first.parent, second.parent), strict=True):
        draw.set_table(name, table)
    draw.slots[slot.upper()] = _join(first)
    draw.slots[slot.upper() + "2"] = _join(second)


def _usable_links(profile: DatabaseProfile) -> list[Link]:
    """The links that are the only one between their tables: a question need not say which."""
    ends = [frozenset((link.child, link.parent)) for link in profile.links]
    return [link for link in profile.links if ends.count(frozenset((link.child, link.parent))) == 1]


def _join(link: Link) -> str:
    child, parent = identifier(link.child), identifier(link.parent)
    return f"{child}.{identifier(link.column)} = {parent}.{identifier(link.target)}"


_MAX_DIGITS = 8
_NEVER_SUMMED = frozenset(
    "age code grade height latitude level longitude number phone rank rating score year zip".split()
)
_LABELS = frozenset("code id index key no nr num number phone ref zip".split())
_ASKED = (Role.NAME, Role.CATEGORY, Role.TEXT, Role.NUMBER, Role.YEAR, Role.DATE)


def _column_of(
    *roles: Role, quotable: bool = False, spoken: bool = False, complete: bool = False
) -> Callable[[Draw, str, str], None]:
    """Return the step that chooses a column of those roles, not chosen before."""

    def step(draw: Draw, slot: str, source: str) -> None:
        fits = [
            column
            for column in draw.profile.table(draw.tables[source]).columns
            if column.role in roles and column not in draw.columns.values()
            if (column.quotable or not quotable) and (column.spoken or not spoken)
            if column.complete or not complete
        ]
        draw.set_column(slot, draw.choose(fits))

    return step


def _amount(draw: Draw, slot: str, source: str) -> None:
    """A number whose average means something: no label by its last word, as in ``house number``."""
    fits = [
        column
        for column in draw.profile.table(draw.tables[source]).columns
        if column.role is Role.NUMBER and _LABELS.isdisjoint(phrase(column.name).split()[-1:])
        if column not in draw.columns.values()
    ]
    draw.set_column(slot, draw.choose(fits))


def _addable(draw: Draw, slot: str, source: str) -> None:
    """A number whose sum means something, as far as its name tells."""
    columns = draw.profile.table(draw.tables[source]).columns
    fits = [
        column
        for column in columns
        if column.role is Role.NUMBER and _NEVER_SUMMED.isdisjoint(phrase(column.name).split())
    ]
    draw.set_column(slot, draw.choose(fits))


def _shared(draw: Draw, slot: str, _: str) -> None:
    """``"c=shared"``: tables `t` and `p` that both have a column `c`, neither of them coded."""
    fits = [
        (column, other)
        for column in _combinable(draw.profile)
        for other in _combinable(draw.profile)
        if (column.name, column.role) == (other.name, other.role) and column.table != other.table
    ]
    column, other = draw.choose(fits)
    draw.set_table("t", column.table)
    draw.set_table("p", other.table)
    draw.set_column(slot, column)


def _combinable(profile: DatabaseProfile) -> list[ColumnProfile]:
    columns = [column for table in profile.tables for column in table.columns]
    return [c for c in columns if c.role in (Role.CATEGORY, Role.YEAR) and c.quotable]


def _value(draw: Draw, slot: str, source: str) -> None:
    """A text value as stored; different from the values drawn before."""
    taken = set(draw.slots.values())
    fits = [str(v) for v in draw.columns[source].values if literal(str(v)) not in taken]
    stored = draw.choose(fits)
    draw.set_value(slot, stored, stored)


def _spoken(draw: Draw, slot: str, source: str) -> None:
    """A value that the question says otherwise than it is stored, and that one column holds."""
    column = draw.columns[source]
    said_anywhere = [
        said.lower() for other in _texts(draw.profile) for said in _said(other).values()
    ]
    fits = [
        (stored, said)
        for stored, said in column.spoken.items()
        if stored in column.values and said_anywhere.count(said.lower()) == 1
    ]
    stored, said = draw.choose(fits)
    draw.set_value(slot, said, stored)


def _texts(profile: DatabaseProfile) -> list[ColumnProfile]:
    text = (Role.NAME, Role.CATEGORY)
    return [c for table in profile.tables for c in table.columns if c.role in text]


def _said(column: ColumnProfile) -> Mapping[str, str]:
    return column.spoken or {str(value): str(value) for value in column.values}


def _threshold(draw: Draw, slot: str, source: str) -> None:
    """A number between the smallest and the largest value, both left on their side."""
    value = draw.choose(_short_numbers(draw.columns[source])[1:-1])
    draw.set_value(slot, repr(value), value)


def _range(draw: Draw, slot: str, source: str) -> None:
    """``"k=n.range"`` fills ``{k}`` and ``{k2}`` with two values in rising order."""
    values = _short_numbers(draw.columns[source])
    if len(values) < 6:
        raise NoFit
    low, high = sorted(draw.random.sample(range(1, len(values) - 1), 2))
    draw.set_value(slot, repr(values[low]), values[low])
    draw.set_value(slot + "2", repr(values[high]), values[high])


def _short_numbers(column: ColumnProfile) -> list[int | float]:
    """The values that a person would write down, in rising order."""
    numbers = [value for value in column.values if not isinstance(value, str)]
    return [value for value in numbers if len(repr(value)) <= _MAX_DIGITS]


def _small(low: int, high: int) -> Callable[[Draw, str, str], None]:
    def step(draw: Draw, slot: str, _: str) -> None:
        number = draw.random.randint(low, high)
        draw.set_value(slot, str(number), number)

    return step


STEPS: Mapping[str, Callable[[Draw, str, str], None]] = {
    "table": _table,
    "link": _link,
    "chain": _chain,
    "star": _star,
    "any": _column_of(*_ASKED),
    "name": _column_of(Role.NAME),
    "plain_name": _column_of(Role.NAME, quotable=True),
    "label": _column_of(Role.NAME, Role.CATEGORY, Role.TEXT),
    "category": _column_of(Role.CATEGORY),
    "complete": _column_of(Role.CATEGORY, quotable=True, complete=True),
    "plain": _column_of(Role.CATEGORY, quotable=True),
    "coded": _column_of(Role.CATEGORY, Role.NAME, spoken=True),
    "coded_category": _column_of(Role.CATEGORY, spoken=True),
    "number": _column_of(Role.NUMBER, Role.YEAR),
    "amount": _amount,
    "addable": _addable,
    "date": _column_of(Role.DATE),
    "shared": _shared,
    "value": _value,
    "spoken": _spoken,
    "threshold": _threshold,
    "range": _range,
    "limit": _small(2, 5),
    "few": _small(2, 4),
}

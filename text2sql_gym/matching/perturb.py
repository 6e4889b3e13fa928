"""Change the rows of a database so that right queries stay right and lucky ones do not."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from text2sql_gym.types import Cell, Row

_KEPT = 0.7  # share of rows that survive thinning
_GROWN = 60  # rows that a small table grows to
_MOVED = 0.3  # share of references that get another target
_SCALED = 0.1  # share of numbers that leave the range seen so far
_JITTERED = 0.3  # share of numbers that move by about one step
_DRAWN = 0.2  # share of numbers that land anywhere in the range seen so far
_LEFT = 3  # rows that thinning leaves at least
_NULLED = 0.15  # share of cells that become NULL where NULLs occur
_FEW = 4  # rows from which on a column without repetition is taken for a key
_NO_NAME = re.compile(r"\s*[-+]?\d|\s*[{\[]")  # a number, a date, a JSON text


@dataclass(frozen=True)
class Reference:
    """Columns of one relation that hold a key of another (`target`, by name)."""

    columns: tuple[int, ...]
    target: str
    target_columns: tuple[int, ...]


@dataclass(frozen=True)
class Relation:
    """A table with its rows and what holds between them.

    `keys` are the declared sets of columns without repetition; `references` point to other
    relations; `held` columns are referred to from elsewhere and keep their values; `types` are
    those declared.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    keys: tuple[tuple[int, ...], ...] = ()
    references: tuple[Reference, ...] = ()
    held: frozenset[int] = frozenset()
    types: tuple[str, ...] = ()

    def column(self, place: int) -> list[Cell]:
        """Return the cells of one column, top to bottom."""
        return [row[place] for row in self.rows]

    def fixed(self) -> frozenset[int]:
        """Return the columns that keys and references own; no value of theirs is made up."""
        keys = {place for key in self.keys for place in key}
        references = {place for reference in self.references for place in reference.columns}
        return self.held | keys | references

    def is_identity(self, reference: Reference) -> bool:
        """Say whether the reference tells rows apart, so that it cannot be redrawn."""
        return reference.columns in self.keys or bool(self.held & set(reference.columns))


Database = Mapping[str, Relation]
Change = Callable[[Relation], Relation]


def thinned(database: Database, rng: random.Random) -> dict[str, Relation]:
    """Keep about `_KEPT` of the rows, then change values and references of what is left."""
    return _finished({name: _thin(table, rng) for name, table in database.items()}, database, rng)


def grown(
    database: Database, rng: random.Random, plant: Change | None = None
) -> dict[str, Relation]:
    """Fill small tables up to `_GROWN` rows, then change values, by `plant` too, and references."""
    larger = {name: _grow(table, rng) for name, table in database.items()}
    return _finished(larger, database, rng, plant)


def _finished(
    database: Database, original: Database, rng: random.Random, plant: Change | None = None
) -> dict[str, Relation]:
    changed = {
        name: _with_new_values(table, original[name], rng)
        for name, table in _without_orphans(database).items()
    }
    if plant is not None:
        changed = {name: plant(table) for name, table in changed.items()}
    return {
        name: _shuffled(_with_new_references(table, changed, rng), rng)
        for name, table in changed.items()
    }


def _thin(table: Relation, rng: random.Random) -> Relation:
    kept = [row for row in table.rows if rng.random() < _KEPT]
    if len(kept) < _LEFT:
        kept = rng.sample(table.rows, min(_LEFT, len(table.rows)))
    return replace(table, rows=tuple(kept))


def _grow(table: Relation, rng: random.Random) -> Relation:
    """Copy random rows; keys of one column get values of their own, others sort themselves out."""
    missing = _GROWN - len(table.rows)
    if missing <= 0 or not table.rows:
        return table
    references = {place for reference in table.references for place in reference.columns}
    fresh = {
        place: _fresh(table.column(place))
        for place in _unique_columns(table)
        if place not in references
    }
    copies = [
        tuple(
            fresh[place](cell, number) if place in fresh else cell
            for place, cell in enumerate(rng.choice(table.rows))
        )
        for number in range(missing)
    ]
    return replace(table, rows=(*table.rows, *copies))


def _unique_columns(table: Relation) -> set[int]:
    """Return single columns that do not repeat: by declaration, or names as far as one can see.

    Without the second kind a grown table would have two singers of one name, and a query that
    groups by name instead of by key would be called wrong.
    """
    declared = {key[0] for key in table.keys if len(key) == 1}
    return declared | {
        place for place in range(len(table.columns)) if _is_unique_text(table.column(place))
    }


def _is_unique_text(cells: Sequence[Cell]) -> bool:
    return (
        len(cells) >= _FEW
        and len(set(cells)) == len(cells)
        and all(isinstance(cell, str) and not _NO_NAME.match(cell) for cell in cells)
    )


def _fresh(cells: Sequence[Cell]) -> Callable[[Cell, int], Cell]:
    """Return a function (old cell, running number) -> value that the column does not hold."""
    top = int(max(_numbers(cells), default=0)) + 1

    def make(cell: Cell, number: int) -> Cell:
        if isinstance(cell, int | float):
            return type(cell)(top + number)
        if isinstance(cell, bytes):
            return cell + str(number + 2).encode()
        return None if cell is None else f"{cell} {number + 2}"

    return make


def _without_orphans(database: Database) -> Database:
    """Drop rows whose own identity refers to a row that is gone, until none is left."""
    smaller = {name: _without_orphaned_rows(table, database) for name, table in database.items()}
    if all(len(smaller[name].rows) == len(table.rows) for name, table in database.items()):
        return database
    return _without_orphans(smaller)


def _without_orphaned_rows(table: Relation, database: Database) -> Relation:
    rows = table.rows
    for reference in filter(table.is_identity, table.references):
        known = _keys(database[reference.target], reference)
        rows = tuple(row for row in rows if _picked(row, reference.columns) in known)
    return replace(table, rows=rows)


def _keys(target: Relation, reference: Reference) -> set[Row]:
    """Return what a reference may hold; a NULL refers to nothing and is always right."""
    keys = {_picked(row, reference.target_columns) for row in target.rows}
    return keys | {(None,) * len(reference.columns)}


def _picked(row: Row, places: Sequence[int]) -> Row:
    return tuple(row[place] for place in places)


def _with_new_values(table: Relation, original: Relation, rng: random.Random) -> Relation:
    """Redraw the free columns; columns that say the same thing twice move together."""
    columns = [table.column(place) for place in range(len(table.columns))]
    unique = _unique_columns(original)
    for block in _blocks(original):
        source = _source(len(table.rows), rng, repeat=not unique & set(block))
        for place in block:
            columns[place] = [columns[place][row] for row in source]
            if len(block) == 1 and place not in unique:
                columns[place] = _altered(columns[place], original.column(place), rng)
    return replace(table, rows=tuple(zip(*columns, strict=True)))


def _blocks(table: Relation) -> list[list[int]]:
    """Group free columns that determine each other, such as a code and its name.

    Columns without repetition are left alone: there, anything determines anything.
    """
    fixed = table.fixed()
    blocks: dict[tuple[int, ...], list[int]] = {}
    for place in (place for place in range(len(table.columns)) if place not in fixed):
        first: dict[Cell, int] = {}
        pattern = tuple(first.setdefault(row[place], at) for at, row in enumerate(table.rows))
        lonely = len(first) in (1, len(table.rows))
        blocks.setdefault((-1, place) if lonely else pattern, []).append(place)
    return list(blocks.values())


def _source(count: int, rng: random.Random, *, repeat: bool) -> list[int]:
    """Choose from which row each row takes its values: itself, a permutation, or any row."""
    way = rng.choice(("same", "permuted", "drawn" if repeat else "permuted"))
    if way == "same":
        return list(range(count))
    if way == "permuted":
        return rng.sample(range(count), count)
    return rng.choices(range(count), k=count)


def _altered(cells: Sequence[Cell], original: Sequence[Cell], rng: random.Random) -> list[Cell]:
    """Move some numbers, and spread NULLs where the column has any."""
    numbers = _numbers(original) or [0]
    moved = [_moved(cell, min(numbers), max(numbers), rng) for cell in cells]
    if None in original:
        moved = _with_nulls(moved, rng)
    _keep_single(moved, original, max, 1)
    _keep_single(moved, original, min, -1)
    return moved


def _keep_single(
    cells: list[Cell],
    original: Sequence[Cell],
    extreme: Callable[[Sequence[int | float]], int | float],
    step: int,
) -> None:
    """Let the largest (or smallest) number occur once if it did: "the oldest" stays one person."""
    before, after = _numbers(original), _numbers(cells)
    if before and after and before.count(extreme(before)) == 1:
        top = extreme(after)
        if after.count(top) > 1:
            cells[cells.index(top)] = top + step


def _numbers(cells: Sequence[Cell]) -> list[int | float]:
    return [cell for cell in cells if isinstance(cell, int | float)]


def _with_nulls(cells: Sequence[Cell], rng: random.Random) -> list[Cell]:
    nulled = [None if rng.random() < _NULLED else cell for cell in cells]
    return list(cells) if nulled.count(None) == len(cells) else nulled


def _moved(cell: Cell, low: float, high: float, rng: random.Random) -> Cell:
    """Step over a threshold, within the usual range or out of it, keeping type and sign."""
    if not isinstance(cell, int | float) or cell in (0, 1):  # 0 and 1 may be flags
        return cell
    chance = rng.random()
    if chance < _SCALED:
        return _scaled(cell, rng.choice((0.1, 0.5, 2, 3, 10)))
    if chance < _SCALED + _DRAWN:
        return rng.randint(int(low), int(high)) if isinstance(cell, int) else rng.uniform(low, high)
    if chance < _SCALED + _DRAWN + _JITTERED:
        step = rng.choice((-1, 1)) if isinstance(cell, int) else cell * rng.uniform(-0.05, 0.05)
        return cell + step
    return cell


def _scaled(cell: int | float, factor: float) -> int | float:
    if isinstance(cell, int):
        return max(-(2**62), min(2**62, int(cell * factor)))
    return cell * factor


def _with_new_references(table: Relation, database: Database, rng: random.Random) -> Relation:
    """Point every reference at a row that exists, and `_MOVED` of them at another one."""
    rows = list(table.rows)
    for reference in table.references:
        known = _keys(database[reference.target], reference)
        keys = [key for key in known if None not in key]
        if table.is_identity(reference) or not keys:
            continue
        keys.sort(key=repr)  # the order of a set is no order
        for at, row in enumerate(rows):
            old = _picked(row, reference.columns)
            if None not in old and (old not in known or rng.random() < _MOVED):
                rows[at] = _put(row, reference.columns, rng.choice(keys))
    return replace(table, rows=tuple(rows))


def _put(row: Row, places: Sequence[int], values: Sequence[Cell]) -> Row:
    changed = list(row)
    for place, value in zip(places, values, strict=True):
        changed[place] = value
    return tuple(changed)


def _shuffled(table: Relation, rng: random.Random) -> Relation:
    return replace(table, rows=tuple(rng.sample(table.rows, len(table.rows))))

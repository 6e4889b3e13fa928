"""When two cells count as the same value, and how to make `==` say so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from text2sql_gym.types import Cell, Row

Number = int | float


def same_cell(left: Cell, right: Cell, relative: float) -> bool:
    """Text, blobs and NULL are equal by type and value, integers exactly, floats nearly.

    Two floats are equal when they differ by at most `relative` times the larger one. An integer
    equals a float of exactly its value; beside a float with a fraction it is read as a float,
    so that 6 equals 6.000000000000001, but 2**53 + 1 is not 2.0**53.
    """
    if left == right:
        return True
    if not (isinstance(left, int | float) and isinstance(right, int | float)):
        return False
    if not (_is_rough(left, right) or _is_rough(right, left)):
        return False
    return math.isclose(left, right, rel_tol=relative)


def _is_rough(number: Number, other: Number) -> bool:
    """Say whether `number` carries rounding noise when it stands beside `other`."""
    if not isinstance(number, float):
        return False
    return isinstance(other, float) or not number.is_integer()


@dataclass
class _Cluster:
    """Numbers that count as one, met in ascending order; `first` stands for all of them."""

    first: Number
    integer: int | None = None  # the only exact integer of the cluster
    whole: float | None = None  # some float without a fraction

    def admits(self, number: Number, relative: float) -> bool:
        if not math.isclose(self.first, number, rel_tol=relative):
            return False
        if isinstance(number, int):
            return self.integer in (None, number) and self.whole in (None, number)
        return not number.is_integer() or self.integer in (None, number)

    def add(self, number: Number) -> None:
        if isinstance(number, int):
            self.integer = number
        elif number.is_integer():
            self.whole = number


def snapping(numbers: Iterable[Number], relative: float) -> Mapping[Number, Number]:
    """Map each number to one representative of those that `same_cell` equates with it.

    Near-equality is not transitive, hence the numbers of both results are grouped together, from
    the smallest up, and no group is wider than `relative`. Rounding to digits instead would tear
    0.285 and 0.28500000000000003 apart wherever a rounding boundary runs between them.
    Numbers that are their own representative are left out.
    """
    moved: dict[Number, Number] = {}
    cluster: _Cluster | None = None
    for number in sorted(set(numbers)):
        if cluster is None or not cluster.admits(number, relative):
            cluster = _Cluster(number)
        cluster.add(number)
        if number != cluster.first:
            moved[number] = cluster.first
    return moved


def numbers_of(rows: Iterable[Row]) -> set[Number]:
    """Return every number of `rows` that has a place in an order (not NaN)."""
    return {
        cell for row in rows for cell in row if isinstance(cell, int | float) and cell == cell
    }


def has_floats(rows: Iterable[Row]) -> bool:
    """Say whether any cell may carry rounding noise."""
    return any(isinstance(cell, float) for row in rows for cell in row)


def snapped(rows: Iterable[Row], moved: Mapping[Number, Number]) -> tuple[Row, ...]:
    """Replace every number by its representative, and every NaN by one and the same object."""
    return tuple(tuple([_stand_in(cell, moved) for cell in row]) for row in rows)


def _stand_in(cell: Cell, moved: Mapping[Number, Number]) -> Cell:
    if not isinstance(cell, int | float):
        return cell
    # containers compare by identity first, so the one NaN of `math` equals itself in them
    return moved.get(cell, cell) if cell == cell else math.nan

"""When two cells count as the same value, and how to make `==` say so."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping

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


def snapping(cells: Iterable[Cell], relative: float) -> dict[Cell, Cell]:
    """Map each number to one representative of those that `same_cell` equates with it.

    `cells` are the values of both results (see `cells_of`); what is its own representative is
    left out. Near-equality is not transitive, hence numbers are grouped from the smallest up, and
    no group is wider than `relative`. Rounding to digits instead would tear 0.285 and
    0.28500000000000003 apart wherever a rounding boundary runs between them. Every NaN gets the
    one of `math`, which is equal to itself inside a container.
    """
    numbers = [cell for cell in cells if isinstance(cell, int | float)]
    moved: dict[Cell, Cell] = {number: math.nan for number in numbers if number != number}
    group: list[Number] = []
    for number in sorted(number for number in numbers if number == number):
        # most numbers are far from the next one, and are done with after the first condition
        if (
            group
            and math.isclose(group[0], number, rel_tol=relative)
            and all(same_cell(member, number, relative) for member in group)
        ):
            moved[number] = group[0]
            group.append(number)
        else:
            group = [number]
    return moved


def cells_of(rows: Iterable[Row]) -> set[Cell]:
    """Return every value that occurs in `rows`; 1 and 1.0 are one value, each NaN is its own."""
    return set(itertools.chain.from_iterable(rows))


def snapped(rows: Iterable[Row], moved: Mapping[Cell, Cell]) -> tuple[Row, ...]:
    """Replace every cell by its representative."""
    columns = zip(*rows, strict=True)
    return tuple(zip(*([moved.get(cell, cell) for cell in column] for column in columns)))

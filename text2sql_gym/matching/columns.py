"""Which column of one result may stand for which column of another."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from text2sql_gym.types import Cell, Row

Arrangement = tuple[int, ...]
"""For each gold column, the predicted column that stands for it."""


def arrangements(
    rows: Sequence[Row], gold_rows: Sequence[Row], at_most: int
) -> Iterator[Arrangement]:
    """List the first `at_most` assignments under which no column has a value too many.

    Every predicted column must be, as a bag, part of its gold column; the given order of columns
    comes first. Both results have rows, and equally many columns.
    """
    fits = _within if len(rows) < len(gold_rows) else dict.__eq__  # the latter is much faster
    bags = [Counter(column) for column in zip(*rows, strict=True)]
    choices = [
        [place for place, bag in enumerate(bags) if fits(bag, gold_bag)]
        for gold_bag in map(Counter, zip(*gold_rows, strict=True))
    ]
    return itertools.islice(_assignments(choices, ()), at_most)


def arranged(rows: Sequence[Row], arrangement: Arrangement) -> list[Row]:
    """Put the columns of every row into the order of the gold columns."""
    if arrangement == tuple(range(len(arrangement))):
        return list(rows)
    return [tuple([row[place] for place in arrangement]) for row in rows]


def _within(bag: Counter[Cell], gold_bag: Counter[Cell]) -> bool:
    return bag <= gold_bag


def _assignments(choices: Sequence[Sequence[int]], chosen: Arrangement) -> Iterator[Arrangement]:
    """Take one column from each list of choices, none twice."""
    place = len(chosen)
    if place == len(choices):
        yield chosen
        return
    for column in sorted(choices[place], key=lambda column: column != place):
        if column not in chosen:
            yield from _assignments(choices, (*chosen, column))

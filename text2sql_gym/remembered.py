"""Functions of large frozen records that remember what they returned."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Generic, TypeVar, TypeVarTuple

Record = TypeVar("Record")
Rest = TypeVarTuple("Rest")
Value = TypeVar("Value")


class _Same(Generic[Record]):
    """A record that is equal to itself only; while it is remembered, its id belongs to it."""

    __slots__ = ("record",)

    def __init__(self, record: Record) -> None:
        self.record = record

    def __hash__(self) -> int:
        return id(self.record)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.record is self.record


def by_identity(
    capacity: int,
) -> Callable[
    [Callable[[Record, *Rest], Value]], Callable[[Record, *Rest], Value]
]:
    """Make a pure function remember its last `capacity` values.

    The first argument is known by what it is, not by what it is equal to: hashing a schema of a
    hundred columns costs as much as the work that is to be saved. So it must never change, and it
    is kept in memory as long as its value. The others must be hashable.
    """

    def decorate(
        function: Callable[[Record, *Rest], Value],
    ) -> Callable[[Record, *Rest], Value]:
        known = lru_cache(capacity)(lambda same, *rest: function(same.record, *rest))

        @wraps(function)
        def call(record: Record, *rest: *Rest) -> Value:
            return known(_Same(record), *rest)

        return call

    return decorate

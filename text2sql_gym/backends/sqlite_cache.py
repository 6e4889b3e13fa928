"""A bounded memory of results: the least recently used ones are forgotten first."""

from __future__ import annotations

import marshal
import threading
from collections import OrderedDict
from typing import NamedTuple

from text2sql_gym.types import CallOutcome, Table


Key = tuple[int, str, int]
"""Number of the database, text of the statement, row limit."""


class Failure(NamedTuple):
    """A statement without a result. `repeatable` means that it would fail again."""

    message: str
    outcome: CallOutcome
    repeatable: bool


class ResultCache:
    """Results by key. Safe to use from many threads.

    `capacity` bounds the sum of the serialised sizes in bytes; objects in memory are about
    three times as large.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity, self._weight = capacity, 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, tuple[Table | Failure, int]] = OrderedDict()

    def get(self, key: Key) -> Table | Failure | None:
        """Return what is known under this key."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: Key, result: Table | Failure) -> None:
        """Remember a result, and forget old ones to make room; not one that needs all of it."""
        rows = result.rows if isinstance(result, Table) else ()
        weight = _OVERHEAD + len(key[1]) + len(marshal.dumps(rows))
        if weight > self._capacity:
            return
        with self._lock:
            self._weight += weight - self._entries.pop(key, (None, 0))[1]
            self._entries[key] = (result, weight)
            while self._weight > self._capacity:
                self._weight -= self._entries.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._weight = 0

    def __len__(self) -> int:
        return len(self._entries)


_OVERHEAD = 1_000
"""Bytes counted for an entry besides its rows and its statement."""

"""Where the time goes: seconds by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds spent in the blocks it was given, summed by name.

    `settle` is called before each reading of the clock: a device that works ahead of the program
    waits there, so that its time is counted where it was spent.
    """

    def __init__(self, settle: Callable[[], None] = lambda: None) -> None:
        self.seconds: dict[str, float] = {}
        self._settle = settle

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time of the block to `name`."""
        begin = self._now()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - begin

    def metrics(self) -> dict[str, float]:
        """The sums as metrics: ``seconds_`` and the name."""
        return {f"seconds_{name}": spent for name, spent in self.seconds.items()}

    def _now(self) -> float:
        self._settle()
        return time.perf_counter()

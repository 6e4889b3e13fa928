"""Ctrl-C at the right moment: between two steps, never inside one."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back, so that no step is saved half taken and no callback swallows it.

    It comes through as KeyboardInterrupt at the end of the block, or earlier where the block
    calls what this yields. A second Ctrl-C does not wait: it ends the program without saving.
    """
    pressed: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        if pressed:
            raise SystemExit("stopped at once; the last checkpoint stands")
        pressed.append(number)

    def let_through() -> None:
        if pressed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield let_through
    finally:
        signal.signal(signal.SIGINT, before)
    let_through()

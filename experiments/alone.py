"""One process at a time works on a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def alone(folder: Path, wait: float = 10.0) -> Iterator[None]:
    """Hold the folder of a run, which need not be there yet; the end of the process lets it go.

    The lock is a hidden file beside the folder. Raises SystemExit where another process still holds
    it after `wait` seconds: those of workers that outlive a killed trainer for a moment.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        message = f"another process is at work on {folder}: wait until it ends, or stop it"
        raise SystemExit(message) from None
    try:
        yield
    finally:
        lock.release()

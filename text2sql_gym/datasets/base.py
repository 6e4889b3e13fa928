"""What a dataset is: a function from a folder and a split to tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from text2sql_gym.types import Task


class Loader(Protocol):
    """Load every task of one split, in a fixed order.

    Each loader names its own keyword options; ``*args`` is there so that type checkers accept
    them, no loader takes further positional arguments.
    """

    def __call__(
        self, data_dir: Path | str | None, split: str, *args: Any, **options: Any
    ) -> tuple[Task, ...]:
        """Raises `DatasetError` naming the path it expected and how to get the data."""

"""What a dataset is: a function from a folder and a split to tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from text2sql_gym.types import Task


class Loader(Protocol):
    """Load every task of one split, in a fixed order."""

    def __call__(self, data_dir: Path | None, split: str, **options: Any) -> tuple[Task, ...]:
        """Raises `DatasetError` naming the path it expected and how to get the data."""

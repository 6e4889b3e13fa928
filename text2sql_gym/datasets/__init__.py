"""Datasets: a name, a folder and a split give tasks. `DATASETS` is the table of contents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from text2sql_gym.datasets.base import Loader
from text2sql_gym.datasets.bird import load_bird
from text2sql_gym.datasets.own import load_own
from text2sql_gym.datasets.records import load_records
from text2sql_gym.datasets.spider import load_spider
from text2sql_gym.datasets.synthetic import load_synthetic
from text2sql_gym.datasets.user import as_task
from text2sql_gym.registry import lookup
from text2sql_gym.types import Task

__all__ = ["DATASETS", "Loader", "as_task", "load_tasks"]

DATASETS: Mapping[str, Loader] = {
    "synthetic": load_synthetic,
    "spider": load_spider,
    "bird": load_bird,
    "own": load_own,
    "records": load_records,
}


def load_tasks(
    name: str, data_dir: Path | str | None, split: str, **options: Any
) -> tuple[Task, ...]:
    """Load one split of the dataset `name`; `options` are those of its loader.

    Raises `UnknownName` for a dataset or split that does not exist, `DatasetError` for files
    that are missing or broken.
    """
    return lookup(DATASETS, name, "dataset")(data_dir, split, **options)

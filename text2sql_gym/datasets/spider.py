"""Spider (Yu et al. 2018) and its variants Spider-Syn, Spider-Realistic and Spider-DK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from text2sql_gym.datasets.hardness import hardness
from text2sql_gym.datasets.layout import (
    first_existing,
    golds_of,
    read_records,
    require_dir,
    text_of,
    with_databases,
)
from text2sql_gym.registry import lookup
from text2sql_gym.types import Task

_HOW = (
    "Spider: https://yale-lily.github.io/spider; unpack it so that the folder holds "
    "train_spider.json, dev.json and database/<db_id>/<db_id>.sqlite. Its variants: "
    "https://github.com/ygan/Spider-Syn, https://github.com/ygan/Spider-DK, "
    "https://zenodo.org/records/5205322 (Spider-Realistic), beside it or in it."
)

_DK = ("Spider-DK.json", "../spider_dk/Spider-DK.json", "../Spider-DK/Spider-DK.json")

SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train_spider.json",),
    "train_others": ("train_others.json",),
    "dev": ("dev.json",),
    "test": ("test_data/test.json", "test.json"),
    "syn": (
        "variants/spider_syn_dev.json",
        "spider_syn_dev.json",
        "Spider-Syn/dev.json",
        "../Spider-Syn/Spider-Syn/dev.json",
    ),
    "syn_train": (
        "variants/spider_syn_train.json",
        "spider_syn_train.json",
        "Spider-Syn/train_spider.json",
        "../Spider-Syn/Spider-Syn/train_spider.json",
    ),
    "realistic": (
        "variants/spider_realistic.json",
        "spider_realistic.json",
        "spider-realistic.json",
    ),
    "dk": (
        "variants/spider_dk.json",
        "spider_dk.json",
        *_DK,
    ),
    "dk_new": _DK,
}
"""Where each split lies, relative to Spider's folder; the first file that exists is read.

`dk` prefers a Spider-DK file reduced to the databases at hand; `dk_new` reads the official one,
whose databases named ``new_*`` lie beside it.
"""

_QUESTION_KEYS = ("SpiderSynQuestion", "question")


def load_spider(
    data_dir: Path | str | None,
    split: str = "dev",
    *,
    skip_missing_databases: bool = False,
) -> tuple[Task, ...]:
    """Load one split (see `SPLITS`) in the order of its file; the id is the position in it.

    `data_dir` is Spider's folder, also one named ``spider_data`` as in the archive, or its parent.
    `Task.difficulty` is Spider's own hardness of the first gold query, computed by `hardness` since
    the files do not state it.

    skip_missing_databases  leave out questions whose database is missing, instead of an error
    """
    files = lookup(SPLITS, split, "split of spider")
    root = _root(require_dir(data_dir, "spider", _HOW))
    path = first_existing([root / name for name in files], "spider", _HOW)
    folders = _database_folders(root, path, split)
    where = f"{path}, record {{}}"
    tasks = [
        _task(record, f"spider/{split}/{number}", where.format(number), folders)
        for number, record in enumerate(read_records(path, _HOW))
    ]
    return with_databases(tasks, "spider", _HOW, skip_missing=skip_missing_databases)


def _root(folder: Path) -> Path:
    inside = (folder / name for name in ("spider", "spider_data"))
    return next((path for path in inside if path.is_dir()), folder)


def _database_folders(root: Path, questions: Path, split: str) -> list[Path]:
    """Where databases lie; a missing one is reported under the last folder.

    The test split has its own copies, some of databases that also occur in dev.
    """
    if split == "test":
        return [root / "test_database"]
    return [questions.parent / "database", root / "database"]


def _database(db_id: str, folders: Sequence[Path]) -> str:
    paths = [folder / db_id / f"{db_id}.sqlite" for folder in folders]
    return str(next((path for path in paths if path.is_file()), paths[-1]).resolve())


def _task(record: Mapping[str, Any], task_id: str, where: str, folders: Sequence[Path]) -> Task:
    db_id = text_of(record, ["db_id"], where)
    golds = golds_of(record, ["query", "SQL"], where)
    return Task(
        task_id=task_id,
        database=_database(db_id, folders),
        question=text_of(record, _QUESTION_KEYS, where).strip(),
        gold_sql=golds,
        difficulty=hardness(golds[0]),
        source="spider",
        database_id=db_id,
    )

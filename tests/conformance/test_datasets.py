"""Laws of every dataset in `DATASETS`, on small copies of their layouts."""

import inspect
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from text2sql_gym.checks import check_tasks
from text2sql_gym.datasets import DATASETS, load_tasks
from text2sql_gym.errors import DatasetError, Text2SQLError, UnknownName
from text2sql_gym.types import Task


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder that every loader finds its own layout in."""
    root = tmp_path_factory.mktemp("data")
    for place in ("database", "train_databases"):
        path = root / place / "shop" / "shop.sqlite"
        path.parent.mkdir(parents=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY, city TEXT, price INT)")
            rows = [("Oslo", 3), ("Oslo", 4), ("Rome", 5), ("Rome", 6), ("Rome", 9)]
            connection.executemany("INSERT INTO sale (city, price) VALUES (?, ?)", rows)
            connection.commit()
        if place == "database":
            continue
        path.rename(path.with_name("shop_two.sqlite"))  # `own` wants one file per name
        path.parent.rename(path.parent.with_name("shop_two"))
    records = [
        {"db_id": "shop", "question": "How many?", "query": "SELECT COUNT(*) FROM sale"},
        {"db_id": "shop", "question": "Where?", "query": "SELECT city FROM sale"},
    ]
    (root / "train_spider.json").write_text(json.dumps(records))
    bird = [
        {"db_id": "shop_two", "question": record["question"], "SQL": record["query"]}
        for record in records
    ]
    (root / "train.json").write_text(json.dumps(bird))
    return root


@pytest.fixture(scope="module")
def loaded(folder):
    return {name: load_tasks(name, folder, "train") for name in DATASETS}


@pytest.mark.parametrize("name", DATASETS)
class TestEveryDataset:
    def test_gives_tasks_with_different_ids_and_databases_that_exist(self, name, loaded):
        tasks = loaded[name]
        assert tasks and all(isinstance(task, Task) for task in tasks)
        assert len({task.task_id for task in tasks}) == len(tasks)
        for task in tasks:
            assert Path(task.database).is_absolute() and Path(task.database).is_file()
            assert task.question.strip() and task.database_id
            assert task.source.split("/")[0] == name

    def test_loads_the_same_tasks_again(self, name, loaded, folder):
        assert load_tasks(name, str(folder), "train") == loaded[name]

    def test_has_golds_that_earn_the_full_reward(self, name, loaded):
        assert check_tasks(loaded[name][:50]).without_full_reward == ()

    def test_refuses_a_split_that_does_not_exist(self, name, folder):
        with pytest.raises(Text2SQLError, match="nosuch"):
            load_tasks(name, folder, "nosuch")

    def test_names_the_path_it_cannot_use(self, name, tmp_path):
        (tmp_path / "file").write_text("no folder")
        with pytest.raises(DatasetError, match=str(tmp_path / "file")):
            load_tasks(name, tmp_path / "file", "train")

    def test_refuses_an_option_it_does_not_have(self, name, folder):
        with pytest.raises(TypeError, match="nosuch"):
            load_tasks(name, folder, "train", nosuch=1)

    def test_says_what_it_loads(self, name):
        assert inspect.getdoc(DATASETS[name])


def test_a_misspelt_dataset_names_the_nearest(folder):
    with pytest.raises(UnknownName, match="Did you mean 'spider'"):
        load_tasks("spidr", folder, "train")

"""Which tasks a run trains on and is evaluated on."""

import json
import sqlite3
from contextlib import closing

import pytest

from experiments.config import Config
from experiments.tasks import load_split


def database(path, kind):
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE {kind} (id INTEGER PRIMARY KEY, name TEXT, size INTEGER)")
        rows = [(f"{kind} {n}", 10 + 7 * n) for n in range(12)]
        connection.executemany(f"INSERT INTO {kind} (name, size) VALUES (?, ?)", rows)
        connection.commit()


@pytest.fixture
def folder(tmp_path):
    """Records about one database each for training and evaluation, and a database of neither."""
    for split, kind in (("train", "boat"), ("dev", "goat"), ("none", "coat")):
        database(tmp_path / "databases" / kind / f"{kind}.sqlite", kind)
        sql = f"SELECT count(*) FROM {kind}"
        record = {"db_id": kind, "question": f"How many {kind}s?", "SQL": sql}
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(record) + "\n")
    return tmp_path


def test_generated_questions_are_about_the_training_databases_and_no_other(folder):
    config = Config(dataset="records", data_dir=folder, generated=5)
    train, evaluated = load_split(config, 0), load_split(config, 1)
    assert train[0].question == "How many boats?" and 2 < len(train) <= 6
    assert {task.database_id for task in train} == {"boat"}
    assert [task.database_id for task in evaluated] == ["goat"] and len(evaluated) == 1


def test_without_generated_questions_the_training_split_is_that_of_the_dataset(folder):
    assert len(load_split(Config(dataset="records", data_dir=folder), 0)) == 1


@pytest.mark.parametrize("dataset", ["synthetic", "own"])
def test_a_dataset_of_generated_questions_takes_no_more(dataset):
    with pytest.raises(ValueError, match="all made anyway"):
        Config(dataset=dataset, generated=5)

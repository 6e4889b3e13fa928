"""A user's data: any SQLite file, records in a file, dicts."""

import hashlib
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from text2sql_gym.checks import check_tasks
from text2sql_gym.datasets import as_task, load_tasks, own
from text2sql_gym.errors import DatasetError, UnknownName
from text2sql_gym.types import Task


def make_database(path, statements=("CREATE TABLE t (a)",)):
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


PEOPLE = (
    "CREATE TABLE \"Order\" (Order_ID INTEGER PRIMARY KEY, 'Full Name' TEXT, City TEXT, Age INT)",
    "INSERT INTO \"Order\" VALUES (1, 'O''Neil', 'Oslo', 20), (2, 'O''Hara', 'Oslo', 30), "
    "(3, 'Bo Yang', 'Rome', 40), (4, 'Cy Roe', 'Rome', 50), (5, 'Di Fox', 'Rome', 60)",
)


class TestOwn:
    @pytest.fixture
    def folder(self, tmp_path):
        for number in range(10):
            make_database(tmp_path / f"shop {number}%.sqlite", PEOPLE)
        return tmp_path

    def test_every_gold_runs_on_names_that_need_quotes(self, tmp_path):
        make_database(tmp_path / "a.db", PEOPLE)
        tasks = load_tasks("own", tmp_path / "a.db", "all")
        assert len(tasks) > 25
        assert check_tasks(tasks).findings == ()
        assert any('"Full Name"' in task.gold_sql[0] for task in tasks)
        assert any("'O''" in task.gold_sql[0] for task in tasks)

    def test_a_task_says_where_it_comes_from(self, tmp_path):
        make_database(tmp_path / "a.db", PEOPLE)
        task = load_tasks("own", tmp_path / "a.db", "all")[0]
        assert (task.task_id, task.database_id) == ("own/a/0", "a")
        assert task.database == str(tmp_path / "a.db")
        assert task.source.startswith("own/") and task.difficulty

    def test_nothing_is_written(self, tmp_path):
        file = make_database(tmp_path / "a.db", PEOPLE)
        before = hashlib.sha256(file.read_bytes()).hexdigest(), sorted(tmp_path.iterdir())
        load_tasks("own", file, "all")
        assert before == (hashlib.sha256(file.read_bytes()).hexdigest(), sorted(tmp_path.iterdir()))

    def test_the_seed_decides(self, tmp_path):
        file = make_database(tmp_path / "a.db", PEOPLE)
        first = load_tasks("own", file, "all", questions_per_database=5)
        assert len(first) == 5
        assert first == load_tasks("own", file, "all", questions_per_database=5)
        assert first != load_tasks("own", file, "all", questions_per_database=5, seed=1)

    def test_splits_of_many_databases_share_none_and_miss_none(self, folder):
        parts = {
            split: {task.database for task in load_tasks("own", folder, split)}
            for split in ("train", "validation", "test", "all")
        }
        assert [len(parts[split]) for split in parts] == [8, 1, 1, 10]
        assert parts["train"] | parts["validation"] | parts["test"] == parts["all"]

    def test_splits_of_one_database_share_no_question_and_miss_none(self, tmp_path):
        file = make_database(tmp_path / "a.db", PEOPLE)
        parts = {
            split: set(load_tasks("own", file, split))
            for split in ("train", "validation", "test", "all")
        }
        assert parts["train"] | parts["validation"] | parts["test"] == parts["all"]
        assert sum(len(parts[split]) for split in ("train", "validation", "test")) == len(
            parts["all"]
        )
        assert all(parts.values())

    def test_database_ids_restrict_the_folder(self, folder):
        tasks = load_tasks("own", folder, "all", database_ids=["shop 3%", "shop 1%"])
        assert {task.database_id for task in tasks} == {"shop 1%", "shop 3%"}

    def test_an_unknown_database_id_is_named(self, folder):
        with pytest.raises(DatasetError, match="is named away"):
            load_tasks("own", folder, "all", database_ids=["away", "shop 1%"])

    def test_a_file_that_is_no_database_is_named(self, tmp_path):
        (tmp_path / "a.db").write_text("hello " * 200)
        with pytest.raises(DatasetError, match="a.db as an SQLite database"):
            load_tasks("own", tmp_path, "all")

    @pytest.mark.parametrize(
        ("name", "message"), [(None, "data_dir is needed"), ("away", "away does not exist")]
    )
    def test_what_is_missing_is_named(self, tmp_path, name, message):
        with pytest.raises(DatasetError, match=message):
            load_tasks("own", name and tmp_path / name, "all")

    def test_a_folder_without_databases_is_named(self, tmp_path):
        with pytest.raises(DatasetError, match="ends in .sqlite"):
            load_tasks("own", tmp_path, "all")

    def test_two_files_of_one_name_are_refused(self, tmp_path):
        make_database(tmp_path / "a/x.db")
        make_database(tmp_path / "b/x.sqlite")
        with pytest.raises(DatasetError, match="the same name"):
            load_tasks("own", tmp_path, "all")

    def test_a_database_without_rows_gives_no_tasks(self, tmp_path):
        assert load_tasks("own", make_database(tmp_path / "a.db"), "all") == ()

    def test_golds_beyond_the_budget_of_engine_steps_are_left_out(self, tmp_path, monkeypatch):
        file = make_database(tmp_path / "a.db", PEOPLE)
        monkeypatch.setattr(own, "_ENGINE_STEPS", 1)
        assert load_tasks("own", file, "all") == ()

    def test_an_unknown_split_names_the_nearest(self, tmp_path):
        with pytest.raises(UnknownName, match="Did you mean 'test'"):
            load_tasks("own", tmp_path, "tests")

    @pytest.mark.real
    def test_questions_about_spiders_databases_can_all_be_answered(self):
        if "TEXT2SQL_DATA" not in os.environ:
            pytest.skip("TEXT2SQL_DATA is not set to the folder that holds spider/")
        folder = Path(os.environ["TEXT2SQL_DATA"]) / "spider" / "database"
        tasks = load_tasks("own", folder, "validation", questions_per_database=10)
        assert len(tasks) > 100
        assert check_tasks(tasks).findings == ()


RECORD = {"db_id": "shop", "question": "How many?", "SQL": "SELECT COUNT(*) FROM t"}


class TestRecords:
    @pytest.fixture
    def folder(self, tmp_path):
        make_database(tmp_path / "database/shop/shop.sqlite")
        return tmp_path

    def write(self, folder, *records, name="train.jsonl"):
        lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
        (folder / name).write_text("\n".join(lines) + "\n")

    def test_a_line_becomes_a_task(self, folder):
        self.write(folder, {**RECORD, "evidence": "rows", "difficulty": "easy"}, "", RECORD)
        first, second = load_tasks("records", folder, "train")
        assert first == Task(
            task_id="records/train/0",
            database=str(folder / "database/shop/shop.sqlite"),
            question="How many?",
            gold_sql=("SELECT COUNT(*) FROM t",),
            evidence="rows",
            difficulty="easy",
            source="records",
            database_id="shop",
        )
        assert (second.task_id, second.evidence) == ("records/train/1", "")

    def test_json_and_parquet_say_the_same(self, folder):
        self.write(folder, RECORD)
        (folder / "list.json").write_text(json.dumps([RECORD]))
        expected = load_tasks("records", folder, "train")
        assert load_tasks("records", folder, "train", file="list.json") == expected
        arrow = pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist([RECORD]), folder / "list.parquet")
        assert load_tasks("records", folder, "train", file="list.parquet") == expected

    @pytest.mark.parametrize("key", ["SQL", "query", "gold_sql"])
    def test_the_gold_may_be_called(self, folder, key):
        golds = ["SELECT 1", "SELECT 2"]
        self.write(folder, {"db_id": "shop", "question": "How many?", key: golds})
        assert load_tasks("records", folder, "train")[0].gold_sql == ("SELECT 1", "SELECT 2")

    def test_a_question_may_have_no_gold(self, folder):
        self.write(folder, {"db_id": "shop", "question": "How many?"})
        assert load_tasks("records", folder, "train")[0].gold_sql == ()

    @pytest.mark.parametrize(
        "place",
        ["databases/farm/farm.sqlite", "train_databases/farm/farm.sqlite", "farm/farm.sqlite",
         "farm.sqlite", "database/farm.sqlite"],
    )
    def test_a_database_is_found_in_the_usual_places(self, folder, place):
        path = make_database(folder / place)
        self.write(folder, {**RECORD, "db_id": "farm"})
        assert load_tasks("records", folder, "train")[0].database == str(path)

    def test_a_folder_of_databases_can_be_given(self, folder):
        path = make_database(folder / "else/where/shop/shop.sqlite")
        self.write(folder, RECORD)
        (task,) = load_tasks("records", folder, "train", database_dir="else/where")
        assert task.database == str(path)

    def test_ids_are_kept_and_must_differ(self, folder):
        self.write(folder, {**RECORD, "question_id": 5}, {**RECORD, "task_id": "six"})
        assert [task.task_id for task in load_tasks("records", folder, "train")] == ["5", "six"]
        self.write(folder, {**RECORD, "question_id": 5}, {**RECORD, "task_id": "5"})
        with pytest.raises(DatasetError, match="two records have the id '5'"):
            load_tasks("records", folder, "train")

    @pytest.mark.parametrize(
        ("line", "message"),
        [("{", "line 2"), ("[1]", "line 2: expected a JSON object"),
         ('{"db_id": "shop"}', "record 1: expected text under question")],
    )
    def test_a_broken_line_is_named(self, folder, line, message):
        self.write(folder, RECORD, line)
        with pytest.raises(DatasetError, match=message):
            load_tasks("records", folder, "train")

    def test_a_broken_parquet_file_is_named(self, folder):
        pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
        (folder / "train.parquet").write_text("no parquet")
        with pytest.raises(DatasetError, match="train.parquet"):
            load_tasks("records", folder, "train")

    def test_a_missing_file_names_all_that_would_do(self, folder):
        with pytest.raises(DatasetError, match=r"dev.jsonl or .*dev.json or .*dev.parquet"):
            load_tasks("records", folder, "dev")

    def test_a_missing_database_is_named_or_skipped(self, folder):
        self.write(folder, {**RECORD, "db_id": "lost"}, RECORD)
        with pytest.raises(DatasetError, match="database/lost/lost.sqlite"):
            load_tasks("records", folder, "train")
        (task,) = load_tasks("records", folder, "train", skip_missing_databases=True)
        assert task.database_id == "shop"


GIVEN = {"task_id": "a", "database": "x/shop.sqlite", "question": "How many?"}


class TestTasksAsDicts:
    def test_a_task_stays_what_it_is(self):
        task = Task("a", "b", "c")
        assert as_task(task) is task

    def test_a_dict_becomes_a_task(self):
        assert as_task({**GIVEN, "gold_sql": "SELECT 1", "evidence": "e"}) == Task(
            task_id="a", database="x/shop.sqlite", question="How many?", gold_sql=("SELECT 1",),
            evidence="e", database_id="shop",
        )

    @pytest.mark.parametrize(
        ("gold", "expected"),
        [("SELECT 1", ("SELECT 1",)), (["SELECT 1", "SELECT 2"], ("SELECT 1", "SELECT 2")),
         ([], ()), (None, ())],
    )
    def test_golds_are_one_several_or_none(self, gold, expected):
        assert as_task({**GIVEN, "gold_sql": gold}).gold_sql == expected
        assert as_task(GIVEN).gold_sql == ()

    def test_a_path_is_a_database(self):
        assert as_task({**GIVEN, "database": Path("x/shop.sqlite")}).database == "x/shop.sqlite"

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({**GIVEN, "gold": "SELECT 1"}, "unknown key 'gold' .did you mean 'gold_sql'"),
            ({**GIVEN, "Question": "?"}, "did you mean 'question'"),
            ({"task_id": "a", "question": "?"}, "missing key 'database'"),
            ({**GIVEN, "task_id": 3}, "task_id must be text, got int"),
            ({**GIVEN, "gold_sql": 3}, "gold_sql must be a query"),
            ({**GIVEN, "gold_sql": " "}, "gold_sql must be a query"),
            ({**GIVEN, "gold_sql": ["SELECT 1", None]}, "gold_sql must be a query"),
            (["a"], "got list"),
        ],
    )
    def test_a_mistake_is_named(self, given, message):
        with pytest.raises(DatasetError, match=message):
            as_task(given)

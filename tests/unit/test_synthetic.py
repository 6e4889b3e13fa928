"""The embedded default: repeatable, split by database, clear golds, mixed grades and wordings."""

import hashlib
import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from text2sql_gym.datasets import load_tasks
from text2sql_gym.datasets.domains import DOMAINS
from text2sql_gym.datasets.questions import GRADES, TEMPLATES
from text2sql_gym.datasets.synthetic import VERSION
from text2sql_gym.errors import DatasetError, UnknownName

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("synthetic")


@pytest.fixture(scope="module")
def splits(cache):
    return {split: load_tasks("synthetic", cache, split) for split in SPLITS}


@pytest.fixture(scope="module")
def everything(splits):
    return [task for tasks in splits.values() for task in tasks]


def rows(task, sql=None):
    with closing(sqlite3.connect(task.database)) as connection:
        return connection.execute(sql or task.gold_sql[0]).fetchall()


def contents(database):
    with closing(sqlite3.connect(database)) as connection:
        return "\n".join(connection.iterdump())


def template_of(task):
    return task.source.removeprefix("synthetic/")


_PRINT_DIGEST = """
import hashlib, sqlite3, sys
from text2sql_gym.datasets import load_tasks
digest = hashlib.sha256()
for task in load_tasks("synthetic", sys.argv[1], "test", databases=6):
    digest.update(f"{task.task_id} {task.question} {task.gold_sql}".encode())
    digest.update("".join(sqlite3.connect(task.database).iterdump()).encode())
print(digest.hexdigest())
"""


def digest_in_a_new_process(folder, hash_seed):
    done = subprocess.run(
        [sys.executable, "-c", _PRINT_DIGEST, str(folder)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )
    return done.stdout


def test_two_processes_make_the_same_questions_and_databases(tmp_path):
    first = digest_in_a_new_process(tmp_path / "a", "1")
    second = digest_in_a_new_process(tmp_path / "b", "2")
    assert first == second != hashlib.sha256().hexdigest() + "\n"


def test_the_version_changes_when_the_same_seed_gives_other_tasks(splits):
    """When this fails after a change of the generator, raise `VERSION` and update both."""
    digest = hashlib.sha256()
    for task in splits["test"]:
        digest.update(f"{task.task_id} {task.question} {task.gold_sql}".encode())
    assert (VERSION, digest.hexdigest()[:16]) == (6, "2da70df8ae8aedae")


def test_another_seed_makes_other_questions(tmp_path):
    first = load_tasks("synthetic", tmp_path, "test", databases=3)
    second = load_tasks("synthetic", tmp_path, "test", databases=3, seed=1)
    assert {task.question for task in first} != {task.question for task in second}


def test_fewer_databases_or_questions_are_the_first_of_more(splits, tmp_path):
    few = load_tasks("synthetic", tmp_path, "test", databases=4, questions_per_database=5)
    many = [task for task in splits["test"] if int(task.task_id.rsplit("/", 1)[1]) < 5]
    strip = [replace(task, database="") for task in many]
    assert [replace(task, database="") for task in few] == strip[: len(few)]
    assert len(few) == 20
    assert contents(few[0].database) == contents(many[0].database)


def test_some_templates_give_questions_of_these_only(tmp_path):
    some = ("count_rows", "lookup_list")
    tasks = load_tasks("synthetic", tmp_path, "train", databases=12, templates=some)
    found = Counter(template_of(task) for task in tasks)
    assert set(found) == set(some) and min(found.values()) > 5
    others = load_tasks("synthetic", tmp_path, "train", databases=12)
    assert {template_of(task) for task in others} > set(some)  # kept apart in the cache
    with pytest.raises(UnknownName, match="lookup_list"):
        load_tasks("synthetic", tmp_path, "train", databases=1, templates=["lookup_lists"])


def test_the_second_load_reads_what_the_first_wrote(cache, splits):
    assert load_tasks("synthetic", cache, "train") == splits["train"]


def test_the_default_sizes(splits):
    databases = {split: {task.database for task in splits[split]} for split in SPLITS}
    assert [len(databases[split]) for split in SPLITS] == [200, 25, 48]
    assert [len(splits[split]) for split in SPLITS] == [2400, 300, 576]


def test_splits_share_no_database_and_no_task(splits):
    ids = [task.task_id for tasks in splits.values() for task in tasks]
    assert len(set(ids)) == len(ids)
    contents_of = {}
    for split, tasks in splits.items():
        for database in {task.database for task in tasks}:
            assert contents_of.setdefault(contents(database), split) == split


def nouns(split):
    entities = [line for lines in DOMAINS[split].values() for line in lines]
    return {noun for line in entities for noun in line.split(":")[0].split("/")}


def test_no_noun_names_tables_of_two_splits():
    assert nouns("train").isdisjoint(nouns("validation") | nouns("test"))
    assert nouns("validation").isdisjoint(nouns("test"))


def test_two_databases_rarely_have_the_same_tables(splits):
    schemas = set()
    for database in {task.database for task in splits["train"]}:
        with closing(sqlite3.connect(database)) as connection:
            found = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table'")
            schemas.add(tuple(sql for (sql,) in found))
    assert len(schemas) == 200


def test_schemas_are_compact_and_linked(everything):
    for database in {task.database for task in everything}:
        with closing(sqlite3.connect(database)) as connection:
            tables = [n for (n,) in connection.execute("SELECT name FROM sqlite_master")]
            widths = [
                len(connection.execute(f"PRAGMA table_info({name})").fetchall()) for name in tables
            ]
            links = [
                len(connection.execute(f"PRAGMA foreign_key_list({name})").fetchall())
                for name in tables
            ]
            broken = connection.execute("PRAGMA foreign_key_check").fetchall()
        assert 2 <= len(tables) <= 4
        assert all(3 <= width <= 6 for width in widths)
        assert sum(links) >= len(tables) - 1 and broken == []


def test_no_two_rows_of_a_table_have_the_same_name(splits):
    for database in {task.database for task in splits["test"]}:
        with closing(sqlite3.connect(database)) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master").fetchall():
                cursor = connection.execute(f"SELECT * FROM {table}")
                columns = [column[0] for column in cursor.description]
                for name, values in zip(columns, zip(*cursor, strict=True), strict=True):
                    if name in ("name", "full_name", "title", "label"):
                        assert len(set(values)) == len(values)


def test_every_gold_gives_rows_without_null(everything):
    for task in everything:
        found = rows(task)
        assert 1 <= len(found) <= 60, task
        assert all(cell is not None for row in found for cell in row), task
        assert found != [(0,)], task


def test_questions_are_short_and_whole(everything):
    lengths = [len(task.question.split()) for task in everything]
    assert min(lengths) >= 5 and max(lengths) <= 20
    assert 9 <= sum(lengths) / len(lengths) <= 13
    for task in everything:
        assert task.question[0].isupper() and task.question[-1] in ".?"
        assert "{" not in task.question and "_" not in task.question.replace(quoted(task), "")


def quoted(task):
    found = re.search(r'"[^"]*"', task.question)
    return found[0] if found else "_none_"


@pytest.mark.parametrize("split", SPLITS)
def test_grades_are_mixed_by_their_weights(splits, split):
    counts = Counter(task.difficulty for task in splits[split])
    assert set(counts) == set(GRADES)
    total = sum(GRADES.values())
    for grade, weight in GRADES.items():
        assert counts[grade] / len(splits[split]) == pytest.approx(weight / total, abs=0.08)


def test_every_template_occurs_and_none_dominates(splits):
    counts = Counter(map(template_of, splits["train"]))
    dated = {"latest"}  # needs a date column, which only a user's own database has
    assert set(counts) == set(TEMPLATES) - dated
    assert max(counts.values()) / len(splits["train"]) < 0.1


def test_a_fifth_or_more_of_the_questions_need_a_look_at_the_values(splits):
    for tasks in splits.values():
        share = sum(template_of(task).startswith("lookup_") for task in tasks) / len(tasks)
        assert 0.2 <= share <= 0.35


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_has_four_wordings_or_more(template):
    assert len(set(template.wordings)) >= 4


def test_every_wording_is_used_where_a_template_occurs_often(everything):
    questions = defaultdict(list)
    for task in everything:
        questions[template_of(task)].append(task.question)
    often = {name: asked for name, asked in questions.items() if len(asked) > 40}
    assert len(often) > 35
    for name, asked in often.items():
        for wording in TEMPLATES[name].wordings:
            pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(wording))
            assert any(re.fullmatch(pattern, question) for question in asked), wording


def text_comparisons(task):
    return re.findall(r"(?:(\w+)\.)?(\w+) (?:=|<>) '((?:[^']|'')*)'", task.gold_sql[0])


def test_a_quoted_value_is_spelt_as_stored_and_no_other_value_is_in_the_question(everything):
    for task in everything:
        for _, _, value in text_comparisons(task):
            assert (f'"{value}"' in task.question) != template_of(task).startswith("lookup_"), task
            if template_of(task).startswith("lookup_"):
                assert value.lower() not in task.question.lower(), task


def test_a_limit_never_cuts_between_equal_keys(everything):
    limited = [task for task in everything if " LIMIT " in task.gold_sql[0]]
    assert len(limited) > 300
    for task in limited:
        head, _, limit = task.gold_sql[0].rpartition(" LIMIT ")
        key = re.search(r"ORDER BY (.+?)( DESC)?$", head)
        body = head[head.index(" FROM ") : key.start()]
        keys = rows(task, f"SELECT {key[1]}{body}{key[0]}")
        first = keys[: int(limit) + 1]
        assert len(first) == len(set(first)) == int(limit) + 1, task


def test_a_name_that_is_asked_for_is_in_one_row(everything):
    named = [task for task in everything if template_of(task) == "of_name"]
    assert len(named) > 20
    for task in named:
        assert len(rows(task)) == 1


def test_an_unknown_split_names_the_known_ones(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'train'"):
        load_tasks("synthetic", tmp_path, "trian")


@pytest.mark.parametrize("options", [{"databases": 0}, {"questions_per_database": 0}])
def test_no_databases_or_questions_is_an_error(tmp_path, options):
    with pytest.raises(DatasetError, match="at least 1"):
        load_tasks("synthetic", tmp_path, "test", **options)


def test_the_cache_folder_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXT2SQL_CACHE", str(tmp_path))
    task = load_tasks("synthetic", None, "test", databases=1)[0]
    assert Path(task.database).is_relative_to(tmp_path)


def test_without_the_variable_the_cache_lies_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("TEXT2SQL_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    task = load_tasks("synthetic", None, "test", databases=1)[0]
    assert Path(task.database).is_relative_to(tmp_path / ".cache" / "text2sql_gym")


def test_a_folder_that_cannot_be_made_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="TEXT2SQL_CACHE"):
        load_tasks("synthetic", tmp_path / "file", "test", databases=1)


def test_nothing_unfinished_is_left_behind(tmp_path):
    load_tasks("synthetic", tmp_path, "test", databases=2)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_deleted_database_is_named(tmp_path):
    task = load_tasks("synthetic", tmp_path, "test", databases=2)[0]
    Path(task.database).unlink()
    with pytest.raises(DatasetError, match=re.escape(Path(task.database).name)):
        load_tasks("synthetic", tmp_path, "test", databases=2)


def test_a_broken_index_is_named(tmp_path):
    task = load_tasks("synthetic", tmp_path, "test", databases=2)[0]
    (Path(task.database).parent / "tasks.jsonl").write_text('{"task_id": ')
    with pytest.raises(DatasetError, match="tasks.jsonl is broken"):
        load_tasks("synthetic", tmp_path, "test", databases=2)

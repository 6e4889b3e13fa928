"""The official layouts of Spider and BIRD, on small copies of them and on the real data."""

import json
import os
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from text2sql_gym.datasets import load_tasks
from text2sql_gym.datasets.hardness import hardness
from text2sql_gym.errors import DatasetError, UnknownName


def write_json(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records))


def write_database(folder, db_id):
    path = folder / db_id / f"{db_id}.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
    return path


def spider_record(db_id="shop", **changes):
    return {"db_id": db_id, "question": " How many? ", "query": "SELECT count(*) FROM t", **changes}


def bird_record(db_id="shop", **changes):
    return {
        "db_id": db_id, "question": "How many?", "SQL": "SELECT COUNT(*) FROM t",
        "evidence": "rows of t", **changes,
    }


@pytest.fixture
def spider(tmp_path):
    root = tmp_path / "spider"
    write_json(root / "train_spider.json", [spider_record()])
    write_json(root / "dev.json", [spider_record(), spider_record("lost")])
    write_json(root / "variants/spider_realistic.json", [spider_record()])
    write_json(
        root / "variants/spider_syn_dev.json",
        [{"db_id": "shop", "SpiderQuestion": "How many?", "SpiderSynQuestion": "What count?",
          "query": "SELECT count(*) FROM t"}],
    )
    write_json(tmp_path / "spider_dk/Spider-DK.json", [spider_record("new_shop"), spider_record()])
    write_database(root / "database", "shop")
    write_database(tmp_path / "spider_dk/database", "new_shop")
    write_json(root / "test_data/test.json", [spider_record()])
    write_database(root / "test_database", "shop")
    return root


@pytest.fixture
def bird(tmp_path):
    root = tmp_path / "bird"
    records = [bird_record(question_id=7, difficulty="simple"), bird_record(question_id=9)]
    write_json(root / "dev.json", records)
    write_json(root / "mini_dev_sqlite.json", records[:1])
    write_database(root / "dev_databases", "shop")
    write_json(tmp_path / "bird_train/train.json", [bird_record("farm")])
    write_database(tmp_path / "bird_train/train_databases", "farm")
    return root


def test_a_spider_task_carries_question_gold_hardness_and_database(spider):
    (task,) = load_tasks("spider", spider, "train")
    assert task.task_id == "spider/train/0"
    assert task.question == "How many?"
    assert task.gold_sql == ("SELECT count(*) FROM t",)
    assert task.difficulty == "easy"
    assert Path(task.database) == spider / "database/shop/shop.sqlite"


@pytest.mark.parametrize("dataset", ["spider", "bird"])
def test_the_parent_folder_will_do(spider, bird, dataset):
    own = spider if dataset == "spider" else bird
    for split in ("train", "dev" if dataset == "bird" else "realistic"):
        assert load_tasks(dataset, own.parent, split) == load_tasks(dataset, own, split)


def test_spider_syn_asks_the_question_with_synonyms(spider):
    (task,) = load_tasks("spider", spider, "syn")
    assert task.question == "What count?"


def test_spider_dk_finds_its_own_and_spiders_databases(spider):
    new, old = load_tasks("spider", spider, "dk")
    assert Path(new.database) == spider.parent / "spider_dk/database/new_shop/new_shop.sqlite"
    assert Path(old.database) == spider / "database/shop/shop.sqlite"


def test_the_variants_are_found_where_their_repositories_put_them(spider):
    for old, new in [
        ("spider/variants/spider_syn_dev.json", "Spider-Syn/Spider-Syn/dev.json"),
        ("spider_dk", "Spider-DK"),
    ]:
        (spider.parent / new).parent.mkdir(parents=True, exist_ok=True)
        (spider.parent / old).rename(spider.parent / new)
    assert load_tasks("spider", spider, "syn")[0].question == "What count?"
    new, _ = load_tasks("spider", spider, "dk")
    assert Path(new.database) == spider.parent / "Spider-DK/database/new_shop/new_shop.sqlite"


def test_the_folder_of_spiders_archive_is_found_in_its_parent(spider):
    spider.rename(spider.parent / "spider_data")
    (task,) = load_tasks("spider", spider.parent, "test")
    assert Path(task.database) == spider.parent / "spider_data/test_database/shop/shop.sqlite"


def test_spiders_test_split_has_its_own_databases(spider):
    (task,) = load_tasks("spider", spider, "test")
    assert Path(task.database) == spider / "test_database/shop/shop.sqlite"


def test_a_missing_database_is_named_with_the_option_to_skip_it(spider):
    with pytest.raises(DatasetError) as caught:
        load_tasks("spider", spider, "dev")
    assert str(spider / "database/lost/lost.sqlite") in str(caught.value)
    assert "skip_missing_databases=True" in str(caught.value)
    (task,) = load_tasks("spider", spider, "dev", skip_missing_databases=True)
    assert task.task_id == "spider/dev/0"


def test_of_many_missing_databases_three_are_named(spider):
    write_json(spider / "dev.json", [spider_record(f"lost_{n}") for n in range(5)])
    with pytest.raises(DatasetError, match=r"5 of 5 .*lost_2.sqlite and 2 more"):
        load_tasks("spider", spider, "dev")


def test_a_bird_task_carries_evidence_difficulty_and_its_question_id(bird):
    first, second = load_tasks("bird", bird, "dev")
    assert (first.task_id, first.difficulty) == ("bird/dev/7", "simple")
    assert first.evidence == "rows of t"
    assert (second.task_id, second.difficulty) == ("bird/dev/9", "")
    assert Path(first.database) == bird / "dev_databases/shop/shop.sqlite"


def test_bird_train_lies_beside_or_in_the_folder(bird):
    beside = load_tasks("bird", bird, "train")
    assert beside == load_tasks("bird", bird.parent / "bird_train", "train")
    assert Path(beside[0].database) == bird.parent / "bird_train/train_databases/farm/farm.sqlite"


def test_several_golds_are_all_kept(bird):
    write_json(bird / "dev.json", [bird_record(SQL=["SELECT 1", "SELECT 2"])])
    assert load_tasks("bird", bird, "dev")[0].gold_sql == ("SELECT 1", "SELECT 2")


def test_a_bird_record_that_stands_twice_is_one_task(bird):
    record = bird_record(question_id=7, difficulty="simple")
    write_json(bird / "mini_dev_sqlite.json", [record, bird_record(question_id=9), record])
    tasks = load_tasks("bird", bird, "mini_dev")
    assert [task.task_id for task in tasks] == ["bird/mini_dev/7", "bird/mini_dev/9"]
    assert tasks[0].gold_sql == ("SELECT COUNT(*) FROM t",)


def test_two_bird_questions_with_one_id_are_refused(bird):
    records = [bird_record(question_id=7), bird_record(question_id=7, question="How few?")]
    write_json(bird / "dev.json", records)
    with pytest.raises(DatasetError, match="bird/dev/7: two different questions"):
        load_tasks("bird", bird, "dev")


def test_birds_queries_for_ties_are_accepted_on_request(bird):
    with pytest.raises(DatasetError, match=f"{bird}/dev_tied_append.json.*https://"):
        load_tasks("bird", bird, "dev", tied=True)
    all_of_them = bird_record(question_id=9, SQL="SELECT a FROM t")
    write_json(bird / "dev_tied_append.json", [all_of_them, bird_record(question_id=99)])
    first, second = load_tasks("bird", bird, "dev", tied=True)
    assert first.gold_sql == ("SELECT COUNT(*) FROM t",)
    assert second.gold_sql == ("SELECT COUNT(*) FROM t", "SELECT a FROM t")
    assert load_tasks("bird", bird, "dev")[1].gold_sql == ("SELECT COUNT(*) FROM t",)


def of_bytes(raw):
    return lambda path: path.write_bytes(raw)


def cut_off(path):
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (of_bytes(b""), "is empty"),
        (of_bytes(b"PK\x03\x04" * 100), "is no SQLite database"),
        (of_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "git lfs pull"),
        (cut_off, r"is cut off: 4096 of 8192 bytes"),
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_a_database_file_that_is_broken_is_named_with_what_is_wrong(bird, breaks, message, skip):
    path = bird / "dev_databases/shop/shop.sqlite"
    breaks(path)
    with pytest.raises(DatasetError, match=f"{path} .*{message}.*https://"):
        load_tasks("bird", bird, "dev", skip_missing_databases=skip)


def test_a_page_of_65536_bytes_is_not_taken_for_one_of_1(bird):
    path = bird / "dev_databases/shop/shop.sqlite"
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA page_size = 65536; CREATE TABLE t (a)")
    assert load_tasks("bird", bird, "dev")
    cut_off(path)
    with pytest.raises(DatasetError, match="65536 of 131072 bytes"):
        load_tasks("bird", bird, "dev")


@pytest.mark.parametrize("dataset", ["spider", "bird"])
class TestWhatIsMissingOrBroken:
    def test_no_folder_given(self, dataset):
        with pytest.raises(DatasetError, match="data_dir is needed.*https://"):
            load_tasks(dataset, None, "dev")

    def test_a_folder_that_does_not_exist_is_named(self, dataset, tmp_path):
        with pytest.raises(DatasetError, match=f"{tmp_path}/away.*https://"):
            load_tasks(dataset, tmp_path / "away", "dev")

    def test_a_missing_file_is_named(self, dataset, tmp_path):
        with pytest.raises(DatasetError, match=f"{tmp_path}/dev.json.*https://"):
            load_tasks(dataset, tmp_path, "dev")

    def test_an_unknown_split_names_the_nearest(self, dataset, tmp_path):
        with pytest.raises(UnknownName, match="Did you mean 'train'"):
            load_tasks(dataset, tmp_path, "trains")

    @pytest.mark.parametrize("content", ["[{", '{"a": 1}', "[1]", "\udcff"])
    def test_a_broken_file_is_named_with_how_to_get_it(self, dataset, tmp_path, content):
        (tmp_path / "dev.json").write_bytes(content.encode("utf-8", "surrogateescape"))
        with pytest.raises(DatasetError, match=f"{tmp_path}/dev.json.*https://"):
            load_tasks(dataset, tmp_path, "dev")

    @pytest.mark.parametrize("key", ["db_id", "question", "gold"])
    def test_a_record_without_a_key_is_named(self, dataset, tmp_path, key):
        record = spider_record(SQL="SELECT 1")
        gone = ("query", "SQL") if key == "gold" else (key,)
        write_json(tmp_path / "dev.json", [{k: v for k, v in record.items() if k not in gone}])
        with pytest.raises(DatasetError, match=f"{tmp_path}/dev.json, record 0: .*{gone[0]}"):
            load_tasks(dataset, tmp_path, "dev")

    @pytest.mark.parametrize("blank", ["", " \n", ["SELECT 1", ""]])
    def test_a_gold_query_that_is_blank_is_no_missing_gold(self, dataset, tmp_path, blank):
        key = "query" if dataset == "spider" else "SQL"
        record = {"db_id": "shop", "question": "?", key: blank}
        write_json(tmp_path / "dev.json", [record])
        with pytest.raises(DatasetError, match="record 0: the text under .* is blank"):
            load_tasks(dataset, tmp_path, "dev")

    def test_a_value_of_another_type_is_named_with_its_type(self, dataset, tmp_path):
        write_json(tmp_path / "dev.json", [{**spider_record(SQL="SELECT 1"), "question": 5}])
        with pytest.raises(DatasetError, match=r"text under .*question; .*question \(int\)"):
            load_tasks(dataset, tmp_path, "dev")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM t", "easy"),
        ("SELECT a FROM t WHERE b = 1", "easy"),
        ("SELECT a, b FROM t WHERE b = 1", "medium"),  # two columns
        ("SELECT a FROM t JOIN u ON t.i = u.i WHERE b = 1", "medium"),
        ("SELECT a FROM t WHERE b = 1 OR b = 2", "medium"),  # clauses 2, others 1
        ("SELECT count(*) FROM t GROUP BY a HAVING count(*) > 1", "easy"),
        ("SELECT count(*) FROM t GROUP BY a HAVING count(*) > 1 AND max(b) > 2", "medium"),
        ("SELECT count(*) FROM t WHERE NOT b = 1", "medium"),
        ("SELECT a FROM t WHERE b > (SELECT avg(b) FROM t)", "hard"),
        ("SELECT a FROM t WHERE b = 1 GROUP BY a ORDER BY a", "hard"),
        ("SELECT a FROM t WHERE b = 1 GROUP BY a ORDER BY a LIMIT 1", "extra"),
        ("SELECT a FROM t EXCEPT SELECT a FROM u", "hard"),
        ("SELECT a, b FROM t EXCEPT SELECT a, b FROM u", "extra"),
        ("not SQL at all (", ""),
        ("DROP TABLE t", ""),
    ],
)
def test_hardness_by_hand(sql, expected):
    assert hardness(sql) == expected


@pytest.fixture(scope="module")
def real():
    if "TEXT2SQL_DATA" not in os.environ:
        pytest.skip("TEXT2SQL_DATA is not set to the folder that holds spider/ and bird/")
    return Path(os.environ["TEXT2SQL_DATA"])


@pytest.mark.real
class TestRealData:
    @pytest.mark.parametrize("split", ["train", "dev", "syn", "realistic", "dk", "dk_new"])
    def test_every_record_of_a_spider_split_is_a_task(self, real, split):
        tasks = load_tasks("spider", real / "spider", split)
        assert len({task.task_id for task in tasks}) == len(tasks) > 0
        assert all(task.question and task.gold_sql[0] for task in tasks)

    @pytest.mark.parametrize("split", ["train", "dev", "mini_dev", "arcwise_sql", "arcwise_full"])
    def test_every_record_of_a_bird_split_is_a_task(self, real, split):
        tasks = load_tasks("bird", real / "bird", split)
        assert len({task.task_id for task in tasks}) == len(tasks) > 0
        assert any(task.evidence for task in tasks)

    def test_hardness_agrees_with_spiders_evaluator_on_spiders_own_parse(self, real):
        records = json.loads((real / "spider/dev.json").read_text())
        grades = Counter(official_hardness(record["sql"]) for record in records)
        assert set(grades) == {"easy", "medium", "hard", "extra"}
        for record in records:
            assert hardness(record["query"]) == official_hardness(record["sql"]), record["query"]


def official_hardness(sql):
    """The rule of taoyds/spider, evaluation.py, on the parse that the files carry."""
    where, having, on = sql["where"], sql["having"], sql["from"]["conds"]
    conditions = [part for clause in (on, where, having) for part in clause[::2]]
    connectives = [part for clause in (on, where, having) for part in clause[1::2]]
    clauses = sum(len(sql[name]) > 0 for name in ("where", "groupBy", "orderBy"))
    clauses += (sql["limit"] is not None) + len(sql["from"]["table_units"]) - 1
    clauses += connectives.count("or") + sum(condition[1] == 9 for condition in conditions)
    nested = sum(isinstance(part, dict) for condition in conditions for part in condition[3:5])
    nested += sum(sql[name] is not None for name in ("intersect", "except", "union"))
    ordered = [unit for value in sql["orderBy"][1:] for pair in value for unit in pair[1:] if unit]
    counted = [*sql["select"][1], *where[::2], *sql["groupBy"], *ordered, *having]
    aggregates = sum(unit[0] != 0 for unit in counted)
    others = (aggregates > 1) + (len(sql["select"][1]) > 1) + (len(where) > 1)
    others += len(sql["groupBy"]) > 1
    if clauses <= 1 and others == 0 and nested == 0:
        return "easy"
    if nested == 0 and (others <= 2 and clauses <= 1 or clauses <= 2 and others < 2):
        return "medium"
    if nested == 0 and (others > 2 and clauses <= 2 or 2 < clauses <= 3 and others <= 2):
        return "hard"
    return "hard" if clauses <= 1 and others == 0 and nested <= 1 else "extra"

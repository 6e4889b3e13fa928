"""Perturbed copies: what they keep, what they change, and which answers they expose."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from text2sql_gym.matching import variants as variants_module
from text2sql_gym.matching.perturb import Relation, grown, thinned
from text2sql_gym.matching.relations import load
from text2sql_gym.matching.strict import Strict
from text2sql_gym.matching.variants import variants_of
from text2sql_gym.types import Limits

SCHOOL = """
CREATE TABLE school(id INTEGER PRIMARY KEY, name TEXT, state TEXT, state_name TEXT, rank INTEGER);
CREATE TABLE pupil(id INTEGER PRIMARY KEY, name TEXT, school INTEGER REFERENCES school(id),
                   grade INTEGER, score REAL, left_in TEXT);
CREATE TABLE club(code TEXT PRIMARY KEY, title TEXT NOT NULL UNIQUE);
CREATE TABLE member(pupil INTEGER, code TEXT, PRIMARY KEY(pupil, code),
                    FOREIGN KEY(pupil) REFERENCES pupil(id));
CREATE TABLE passport(pupil INTEGER PRIMARY KEY REFERENCES pupil(id), number TEXT);
CREATE TABLE empty(a, b);
CREATE INDEX by_grade ON pupil(grade);
CREATE VIEW good AS SELECT * FROM pupil WHERE score > 5;
INSERT INTO school VALUES (1,'Elm','CA','California',4), (2,'Oak','CA','California',9),
  (3,'Fir','NY','New York',2), (4,'Ash','NY','New York',7), (5,'Yew','WA','Washington',1);
INSERT INTO pupil VALUES (10,'Ann',1,3,7.5,NULL), (11,'Bob',1,3,6.0,'2020-01-01'),
  (12,'Cat',2,4,9.25,NULL), (13,'Dan',3,5,2.0,'2021-05-05'), (14,'Eve',NULL,5,3.5,NULL),
  (15,'Fay',5,6,8.0,NULL), (16,'Gus',4,2,1.0,NULL), (17,'Hal',2,3,5.5,NULL);
INSERT INTO passport SELECT id, 'no ' || id FROM pupil;
INSERT INTO club VALUES ('CH','Chess'), ('GO','Go'), ('TE','Tennis'), ('RO','Rowing');
INSERT INTO member VALUES (10,'CH'), (10,'GO'), (11,'CH'), (13,'TE'), (15,'CH'), (17,'TE');
CREATE TRIGGER noisy AFTER INSERT ON club BEGIN INSERT INTO empty VALUES (1, 1); END;
"""


@pytest.fixture(scope="module")
def school(open_database):
    return open_database(SCHOOL)


@pytest.fixture(scope="module")
def path(school) -> Path:
    return Path(school.url.removeprefix("sqlite:///"))


def query(path: Path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class TestCopies:
    def test_the_original_is_only_read(self, path):
        before, beside = digest(path), sorted(os.listdir(path.parent))
        variants_of(path, 4, 0)
        assert digest(path) == before and sorted(os.listdir(path.parent)) == beside

    def test_a_seed_gives_the_same_copies_in_every_process(self, path):
        first = [digest(copy) for copy in variants_of(path, 2, 5)]
        variants_module._made.clear()  # as in another process
        assert [digest(copy) for copy in variants_of(path, 2, 5)] == first
        assert [digest(copy) for copy in variants_of(path, 2, 6)] != first

    def test_copies_are_made_once(self, path):
        assert variants_of(path, 2, 0) is variants_of(path, 2, 0)

    def test_only_the_last_databases_keep_their_copies(self, path, monkeypatch):
        variants_module._made.clear()
        monkeypatch.setattr(variants_module, "_DATABASES", 2)
        first = variants_of(path, 1, 101)
        variants_of(path, 1, 102)
        assert first[0].exists()
        variants_of(path, 1, 103)
        assert not first[0].exists()
        assert variants_of(path, 1, 101)[0].exists()

    def test_copies_that_somebody_removed_are_made_again(self, path):
        first = variants_of(path, 2, 7)
        shutil.rmtree(first[0].parent)
        again = variants_of(path, 2, 7)
        assert again != first and all(copy.exists() for copy in again)

    def test_the_schema_is_whole_but_for_triggers(self, path):
        kinds = "SELECT type, name FROM sqlite_master WHERE type <> 'trigger' ORDER BY 1, 2"
        for copy in variants_of(path, 2, 0):
            assert query(copy, kinds) == query(path, kinds)
            assert query(copy, "SELECT COUNT(*) FROM sqlite_master WHERE type = 'trigger'") == [
                (0,)
            ]
            assert query(copy, "SELECT COUNT(*) > 0 FROM good") == [(1,)]

    def test_a_database_that_cannot_be_copied_has_no_copies(self, tmp_path, caplog):
        broken = tmp_path / "broken.sqlite"
        broken.write_bytes(b"not a database at all" * 50)
        assert variants_of(broken, 2, 0) == ()
        assert "no variants of broken.sqlite" in caplog.text

    def test_text_that_is_no_text_is_copied(self, open_database):
        odd = open_database(
            "CREATE TABLE t(a TEXT, b BLOB); INSERT INTO t VALUES"
            " (CAST(x'66ff' AS TEXT), x'00ff')"
        )
        (copy,) = variants_of(Path(odd.url.removeprefix("sqlite:///")), 1, 0)
        assert query(copy, "SELECT typeof(a), b FROM t") == [("text", b"\x00\xff")]

    def test_a_large_table_gives_a_small_copy(self, open_database):
        large = open_database(
            "CREATE TABLE t(n INTEGER PRIMARY KEY); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL"
            " SELECT n + 1 FROM c WHERE n < 30000) INSERT INTO t SELECT n FROM c"
        )
        _, tables = load(Path(large.url.removeprefix("sqlite:///")))
        assert len(tables["t"].rows) == 1_000
        assert max(tables["t"].rows) > (29_000,)  # not only the first ones


@pytest.mark.parametrize("number", range(6))
class TestEveryCopy:
    @pytest.fixture
    def copy(self, path, number) -> Path:
        return variants_of(path, 6, 1)[number]

    def test_references_stay_whole(self, copy):
        assert query(copy, "PRAGMA foreign_key_check") == []
        # an evident one, although it is not declared
        assert query(
            copy, "SELECT COUNT(*) FROM member WHERE code NOT IN (SELECT code FROM club)"
        ) == [(0,)]

    def test_keys_and_names_do_not_repeat(self, copy):
        assert query(copy, "SELECT name FROM school GROUP BY name HAVING COUNT(*) > 1") == []
        assert query(copy, "SELECT name FROM pupil GROUP BY name HAVING COUNT(*) > 1") == []
        assert query(copy, "PRAGMA integrity_check") == [("ok",)]

    def test_columns_that_say_the_same_still_do(self, path, copy):
        states = "SELECT DISTINCT state, state_name FROM school"
        assert set(query(copy, states)) <= set(query(path, states))

    def test_nulls_come_where_they_were_and_nowhere_else(self, copy):
        sql = "SELECT COUNT(*) FROM pupil WHERE name IS NULL OR grade IS NULL OR score IS NULL"
        assert query(copy, sql) == [(0,)]

    def test_types_stay(self, path, copy):
        sql = "SELECT DISTINCT typeof(grade), typeof(score), typeof(name) FROM pupil"
        assert query(copy, sql) == query(path, sql)


class TestKinds:
    def test_thinning_leaves_fewer_rows_and_growing_fills_up(self, path):
        _, tables = load(path)
        small, large = thinned(tables, random.Random(0)), grown(tables, random.Random(0))
        assert 3 <= len(small["pupil"].rows) < 8
        assert len(large["pupil"].rows) == 60
        assert large["empty"].rows == ()

    def test_the_best_and_the_worst_stay_one(self):
        marks = Relation("t", ("mark",), tuple((mark,) for mark in range(2, 7)))
        for seed in range(20):
            column = grown({"t": marks}, random.Random(seed))["t"].column(0)
            assert column.count(max(column)) == column.count(min(column)) == 1

    def test_what_is_known_by_its_reference_goes_with_it_and_never_to_another(self, path):
        _, tables = load(path)
        for seed in range(5):
            small = thinned(tables, random.Random(seed))
            pupils = {row[0] for row in small["pupil"].rows}
            holders = [row[0] for row in small["passport"].rows]
            assert set(holders) <= pupils and len(set(holders)) == len(holders)

    def test_growing_gives_pupils_of_other_schools_and_schools_without_pupils(self, path):
        copy = variants_of(path, 2, 0)[1]
        assert query(copy, "SELECT COUNT(DISTINCT school) > 8 FROM pupil") == [(1,)]
        assert query(
            copy,
            "SELECT COUNT(*) > 0 FROM school WHERE id NOT IN"
            " (SELECT school FROM pupil WHERE school IS NOT NULL)",
        ) == [(1,)]


LUCKY = [
    ("SELECT COUNT(*) FROM pupil", "SELECT COUNT(*) FROM pupil WHERE score >= 1"),
    (
        "SELECT COUNT(*) FROM pupil WHERE grade > 4",
        "SELECT COUNT(*) FROM pupil WHERE grade > 4 AND score < 8.5",
    ),
    ("SELECT MAX(grade) FROM pupil", "SELECT 6 FROM pupil LIMIT 1"),
    ("SELECT name FROM school WHERE rank > 8", "SELECT name FROM school WHERE id = 2"),
    ("SELECT COUNT(*) FROM pupil WHERE grade = 3", "SELECT COUNT(*) FROM school WHERE rank > 3"),
    (
        "SELECT name FROM pupil ORDER BY score DESC LIMIT 1",
        "SELECT name FROM pupil ORDER BY id LIMIT 1 OFFSET 2",
    ),
    ("SELECT COUNT(DISTINCT rank) FROM school", "SELECT COUNT(rank) FROM school"),
    (
        "SELECT SUM(grade) FROM pupil WHERE school = 3",
        "SELECT MAX(grade) FROM pupil WHERE school = 3",
    ),
    ("SELECT name FROM school WHERE id IN (SELECT school FROM pupil)", "SELECT name FROM school"),
    ("SELECT DISTINCT grade FROM pupil WHERE score > 7", "SELECT grade FROM pupil WHERE score > 7"),
]
SAME = [
    (
        "SELECT name FROM pupil ORDER BY score DESC LIMIT 1",
        "SELECT name FROM pupil WHERE score = (SELECT MAX(score) FROM pupil)",
    ),
    (
        "SELECT s.name, COUNT(*) FROM school s JOIN pupil p ON p.school = s.id GROUP BY s.id",
        "SELECT s.name, COUNT(p.id) FROM pupil p, school s WHERE p.school = s.id GROUP BY s.name",
    ),
    (
        "SELECT state, COUNT(*) FROM school GROUP BY state",
        "SELECT state, COUNT(*) FROM school GROUP BY state_name",
    ),
    (
        "SELECT name FROM pupil WHERE left_in IS NULL",
        "SELECT name FROM pupil EXCEPT SELECT name FROM pupil WHERE left_in IS NOT NULL",
    ),
    (
        "SELECT p.name FROM pupil p JOIN member m ON m.pupil = p.id WHERE m.code = 'CH'",
        "SELECT name FROM pupil WHERE id IN (SELECT pupil FROM member WHERE code = 'CH')",
    ),
    ("SELECT AVG(score) FROM pupil", "SELECT SUM(score) / COUNT(*) FROM pupil"),
]


class TestStrictOnCopies:
    @pytest.mark.parametrize(("gold", "predicted"), LUCKY)
    def test_an_answer_that_is_right_by_coincidence_is_found_out(
        self, gold, predicted, school, judge
    ):
        assert judge(Strict(variants=0), gold, predicted, school) == 1.0
        assert judge(Strict(variants=4), gold, predicted, school) == 0.0

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize(("gold", "predicted"), SAME)
    def test_a_right_answer_stays_right(self, gold, predicted, seed, school, judge):
        assert judge(Strict(variants=4, seed=seed), gold, predicted, school) == 1.0

    def test_an_empty_gold_result_is_judged_where_it_is_not_empty(self, school, judge):
        gold = "SELECT name FROM pupil WHERE grade > 8"
        alone = Strict(variants=0, witness="never")
        assert judge(alone, gold, "SELECT title FROM club WHERE 0", school) == 1.0
        assert judge(Strict(variants=4), gold, "SELECT title FROM club WHERE 0", school) == 0.0
        assert judge(Strict(variants=4), gold, gold + " ORDER BY 1", school) == 1.0

    def test_an_answer_that_fails_on_a_copy_is_wrong(self, open_database, judge):
        large = open_database(
            "CREATE TABLE t(n INTEGER); INSERT INTO t VALUES (1152921504606846976), (2), (3), (4)"
        )
        gold, overflows = "SELECT COUNT(*) FROM t", "SELECT COUNT(*) + 0 * SUM(n) FROM t"
        assert judge(Strict(variants=0), gold, overflows, large) == 1.0
        assert judge(Strict(variants=2), gold, overflows, large) == 0.0

    def test_texts_with_a_form_of_their_own_keep_it(self, open_database, judge):
        documents = open_database(
            "CREATE TABLE t(body TEXT, day TEXT); INSERT INTO t VALUES "
            + ", ".join(f"""('{{"a": {n}}}', '2020-01-0{n}')""" for n in range(1, 6))
        )
        gold = "SELECT COUNT(*) FROM t"
        predicted = "SELECT COUNT(json_extract(body, '$.a')) FROM t WHERE date(day) IS NOT NULL"
        assert judge(Strict(variants=4), gold, predicted, documents) == 1.0

    def test_a_copy_on_which_the_gold_is_empty_or_cuts_a_tie_proves_nothing(self, school):
        prepare = Strict(variants=4).prepare
        nobody = prepare("SELECT name FROM pupil WHERE name = 'Zoe'", school, Limits())
        tied = prepare("SELECT name FROM pupil ORDER BY id > 0 LIMIT 1", school, Limits())
        assert nobody.prepared.copies == tied.prepared.copies == {}

    def test_copies_that_were_forgotten_are_made_again(self, school, path):
        matcher, sql, limits = Strict(variants=2), "SELECT COUNT(*) FROM pupil", Limits()
        gold = matcher.prepare(sql, school, limits)
        variants_module._remove(variants_of(path, 2, 0))
        variants_module._made.clear()
        assert len(gold.prepared.copies) == 2
        assert matcher(sql, gold.table, gold, school, limits) == 1.0

    def test_copies_are_closed_with_the_database(self, path, judge):
        from text2sql_gym.backends import open_backend
        from text2sql_gym.matching.companions import _open

        backend, before = open_backend(str(path), Limits()), len(_open)
        judge(Strict(), "SELECT name FROM pupil", "SELECT name FROM pupil", backend)
        opened = list(_open[backend].values())
        assert len(_open) == before + 1 and len(opened) == 2
        backend.close()
        del backend
        assert len(_open) == before
        for copy in opened:
            with pytest.raises(Exception, match="closed"):
                copy.execute("SELECT 1", max_rows=1)

"""The schema of an SQLite file as declared, with BIRD's descriptions where they lie beside it."""

import os
from pathlib import Path

import pytest
from sqlite_files import write

from text2sql_gym.backends.sqlite import SqliteBackend
from text2sql_gym.backends.sqlite_schema import read_descriptions, read_schema
from text2sql_gym.types import Column, ForeignKey


def test_tables_and_views_come_in_declared_order_with_types_and_keys(tmp_path):
    sale, customer, spending = read_schema(str(write(tmp_path / "shop.sqlite")))
    assert (sale.name, customer.name, spending.name) == ("sale", "Customer", "spending")
    assert sale.columns == (
        Column("id", "INTEGER", primary_key=True),
        Column("customer_id", "INTEGER"),
        Column("amount", "REAL"),
        Column("day", "TEXT"),
    )
    assert [column.name for column in spending.columns] == ["customer_id", "total"]
    # the declaration names no column of the target: its primary key is meant
    assert sale.foreign_keys == (ForeignKey("customer_id", "Customer", "id"),)


def test_odd_tables_are_read_and_sqlites_own_are_left_out(tmp_path):
    script = """
    CREATE TABLE "two ""words"" here" (id INTEGER PRIMARY KEY AUTOINCREMENT, "a b" TEXT);
    CREATE TABLE sums (a INT, b INT, total INT AS (a + b), PRIMARY KEY (b, a));
    CREATE TABLE part (x INT, y INT, z REFERENCES nowhere,
                       FOREIGN KEY (x, y) REFERENCES sums, FOREIGN KEY (y) REFERENCES sums (a));
    CREATE VIEW broken AS SELECT * FROM nowhere;
    INSERT INTO "two ""words"" here" DEFAULT VALUES;
    """
    odd, sums, part, broken = read_schema(str(write(tmp_path / "odd.sqlite", script)))
    assert odd.name == 'two "words" here'
    assert [(column.name, column.primary_key) for column in sums.columns] == [
        ("a", True),
        ("b", True),
        ("total", False),
    ]
    assert part.foreign_keys == (
        ForeignKey("z", "nowhere", ""),
        ForeignKey("x", "sums", "b"),
        ForeignKey("y", "sums", "a"),
        ForeignKey("y", "sums", "a"),
    )
    assert broken.columns == ()


def test_the_schema_is_read_once_per_database(tmp_path):
    path = write(tmp_path / "shop.sqlite")
    first, second = SqliteBackend(path), SqliteBackend(path)
    assert first.schema() is second.schema()
    first.close(), second.close()


HEAD = "original_column_name,column_name,column_description,data_format,value_description\n"


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", ""), ("utf-8", "\ufeff"), ("cp1252", "")])
def test_descriptions_are_read_in_every_encoding_bird_uses(tmp_path, encoding, mark):
    folder = tmp_path / "database_description"
    folder.mkdir()
    row = 'Name , full name,"what they are\n called – é",text,"Ada: first"\n'
    (folder / "customer.csv").write_bytes((mark + HEAD + row).encode(encoding))
    _, customer, _ = read_schema(str(write(tmp_path / "shop.sqlite")))
    expected = "full name; what they are called – é; Ada: first"
    assert [column.description for column in customer.columns] == ["", expected, ""]


def test_bytes_that_no_encoding_explains_do_not_stop_the_reading(tmp_path):
    (tmp_path / "customer.csv").write_bytes(HEAD.encode() + b"Name,,\x81,,\n,,,,,extra\nshort\n")
    assert read_descriptions(tmp_path)["customer"]["name"] == "\x81"


def test_a_description_says_nothing_twice(tmp_path):
    (tmp_path / "a.csv").write_text(HEAD + "Name,name,Name,text,\nday,Day of sale,day of sale,,\n")
    assert read_descriptions(tmp_path) == {"a": {"name": "", "day": "Day of sale"}}
    assert read_descriptions(tmp_path / "nothing here") == {}


@pytest.mark.real
@pytest.mark.skipif("TEXT2SQL_DATA" not in os.environ, reason="TEXT2SQL_DATA is not set")
def test_every_real_database_has_a_schema_and_bird_describes_its_columns():
    data = Path(os.environ["TEXT2SQL_DATA"])
    paths = sorted(data.glob("**/*.sqlite"))
    assert paths
    for path in paths:
        backend = SqliteBackend(path)
        assert all(table.columns for table in backend.schema())
        if (path.parent / "database_description").is_dir():
            assert any(column.description for table in backend.schema() for column in table.columns)
        backend.close()

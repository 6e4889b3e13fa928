"""Files that are no database, are damaged, or were left with changes beside them."""

import os
import sqlite3

import pytest
from sqlite_files import write

from text2sql_gym.backends.sqlite import SqliteBackend
from text2sql_gym.errors import EnvironmentFault


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "expected a file there"), (b"", "empty"), (b"name;price\n" * 99, "not a readable")],
)
def test_what_is_no_database_is_our_fault_and_names_the_path(tmp_path, content, message):
    path = tmp_path / "shop.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EnvironmentFault, match=message) as caught:
        SqliteBackend(path)
    assert str(path) in str(caught.value)


def test_a_log_that_was_never_written_back_is_refused(tmp_path):
    path = write(tmp_path / "shop.sqlite")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("INSERT INTO sale VALUES (9, 9, 9.0, NULL)")
    connection.commit()
    with pytest.raises(EnvironmentFault, match=r"shop\.sqlite-wal .*wal_checkpoint"):
        SqliteBackend(path)
    connection.close()  # the last connection writes the log back
    backend = SqliteBackend(path)
    assert backend.execute("SELECT count(*) FROM sale", max_rows=1).rows == ((4,),)
    backend.close()


def test_nothing_appears_beside_a_database_in_wal_mode(tmp_path):
    path = write(tmp_path / "shop.sqlite", "PRAGMA journal_mode=WAL; CREATE TABLE t(a)")
    for isolated in (False, True):
        backend = SqliteBackend(path, isolated=isolated, cached=False)
        backend.execute("SELECT * FROM t", max_rows=1)
        assert os.listdir(tmp_path) == ["shop.sqlite"]
        backend.close()


def test_a_hot_journal_is_refused_and_a_cold_one_is_not(tmp_path):
    path = write(tmp_path / "shop.sqlite")
    journal = tmp_path / "shop.sqlite-journal"
    journal.write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(504))
    with pytest.raises(EnvironmentFault, match="shop.sqlite-journal"):
        SqliteBackend(path)
    journal.write_bytes(bytes(512))
    SqliteBackend(path).close()


def test_a_damaged_page_is_our_fault_and_not_the_statements(tmp_path):
    path = write(tmp_path / "shop.sqlite")
    content = bytearray(path.read_bytes())
    content[4096 : 2 * 4096] = b"\xff" * 4096  # the first page behind the schema: table sale
    path.write_bytes(content)
    for isolated in (False, True):
        backend = SqliteBackend(path, isolated=isolated)
        with pytest.raises(EnvironmentFault, match="malformed"):
            backend.execute("SELECT * FROM sale", max_rows=1)
        backend.close()

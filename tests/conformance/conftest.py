"""Databases under every engine, for the laws of backends and of tools."""

import sqlite3
from contextlib import closing

import pytest

from postgresql_server import postgresql_server


def write_sqlite(folder, name, script):
    """Write an SQLite file and return its URL."""
    path = folder / f"{name}.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        for sql in script:
            connection.execute(sql)
    return f"sqlite:///{path}"


def write_duckdb(folder, name, script):
    """Write a DuckDB file and return its URL."""
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    path = folder / f"{name}.duckdb"
    with duckdb.connect(str(path)) as connection:
        for sql in script:
            connection.execute(sql)
    return f"duckdb:///{path}"


@pytest.fixture(scope="session")
def postgresql():
    """The URL of a running server's owner, with a role that may read and nothing else."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    with postgresql_server() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE ROLE reader LOGIN")
            connection.execute("GRANT pg_read_all_data TO reader")
        yield url


def write_postgresql(server, name, script):
    """Write a database on the server and return its reader's URL."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = server.replace("/postgres", f"/{name}")
    with psycopg.connect(url, autocommit=True) as connection:
        for sql in script:
            connection.execute(sql)
    return url.replace("owner", "reader")


@pytest.fixture(scope="session")
def write_database(tmp_path_factory, request):
    """Write a database by a script of SQL under an engine, and return its URL."""

    def write(engine, name, script):
        if engine == "postgresql":
            return write_postgresql(request.getfixturevalue("postgresql"), name, script)
        writer = {"sqlite": write_sqlite, "duckdb": write_duckdb}[engine]
        return writer(tmp_path_factory.mktemp(engine), name, script)

    return write

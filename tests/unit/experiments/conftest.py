"""A toy database and tasks over it, two difficulties and one or two tables."""

import sqlite3
from contextlib import closing

import pytest
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.types import Task

TOWNS = """
CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT, country TEXT);
INSERT INTO city VALUES (1, 'Oslo', 'NO'), (2, 'Bergen', 'NO'), (3, 'Rome', 'IT');
CREATE TABLE sale (id INTEGER PRIMARY KEY, city_id INTEGER REFERENCES city (id), state TEXT);
INSERT INTO sale VALUES (1, 1, 'DONE'), (2, 1, 'OPEN'), (3, 3, 'DONE');
"""

QUESTIONS = (
    ("How many cities are there?", "SELECT COUNT(*) FROM city", "easy"),
    ("Which cities are in Norway?", "SELECT name FROM city WHERE country = 'NO'", "easy"),
    (
        "Which cities have open sales?",
        "SELECT c.name FROM city AS c JOIN sale AS s ON s.city_id = c.id WHERE s.state = 'OPEN'",
        "hard",
    ),
)


@pytest.fixture(scope="session")
def towns(tmp_path_factory):
    """Three tasks over one SQLite file."""
    path = tmp_path_factory.mktemp("towns") / "towns.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TOWNS)
    return tuple(
        Task(f"towns/{place}", str(path), question, (sql,), difficulty=grade, database_id="towns")
        for place, (question, sql, grade) in enumerate(QUESTIONS)
    )


@pytest.fixture(scope="session")
def towns_env(towns):
    """Build environments over the toy tasks."""
    return lambda: Text2SQLEnv(tasks=towns)

"""Hostile statements, and the database they are aimed at; see ``attacks.json``."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

CORPUS = json.loads((Path(__file__).parent / "attacks.json").read_text())


def names():
    """Return (name, expected outcome) of every statement."""
    groups = [*CORPUS["statements"].items(), *CORPUS["generated"].items()]
    return [(name, outcome) for outcome, group in groups for name in group]


def statement(name):
    """Return the text of one statement; generated ones are built now, some are 50 MB long."""
    for group in CORPUS["statements"].values():
        if name in group:
            return group[name]
    return next(_built(*group[name]) for group in CORPUS["generated"].values() if name in group)


def build_database(path, rows=30_000):
    """Write the database that the statements are about."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for sql in CORPUS["database"]:
            connection.execute(sql, {"rows": rows} if ":rows" in sql else {})


def _built(before, opening, middle, closing_text, after, count):
    return before + opening * count + middle + closing_text * count + after

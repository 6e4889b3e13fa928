"""Judge one query against gold queries on a small real SQLite file, as an episode would."""

import sqlite3
from contextlib import closing

from text2sql_gym.backends import open_backend
from text2sql_gym.errors import ToolError
from text2sql_gym.matching.bird_ex import BirdEx
from text2sql_gym.types import Limits

LIMITS = Limits()


def execution_match_of(sql, golds, setup, path, matcher=BirdEx()):
    """1.0 when the query's result matches one of the golds, else 0.0, also when it cannot run."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(";".join(setup))
    backend = open_backend(str(path), LIMITS)
    try:
        prepared = [matcher.prepare(gold, backend, LIMITS) for gold in golds]
        try:
            table = backend.execute(sql, max_rows=LIMITS.compared_rows)
        except ToolError:
            return 0.0
        return max(matcher(sql, table, gold, backend, LIMITS) for gold in prepared)
    finally:
        backend.close()

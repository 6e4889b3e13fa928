"""Random queries over random databases: `strict` against a slow judge that shares no code."""

from __future__ import annotations

import itertools
import random
from collections import Counter

from text2sql_gym.matching import MATCHERS
from text2sql_gym.matching.strict import Strict

DATABASES = 14
PAIRS = 20  # of random queries, and as many rewritten ones, per database


def database_script(rng: random.Random) -> str:
    """Two tables of few values, so that different queries often have equal results."""

    def number() -> str:
        return rng.choice(["0", "1", "2", "3", "NULL"])

    def text() -> str:
        return rng.choice(["'a'", "'b'", "'A'", "''", "NULL"])

    def real() -> str:
        return rng.choice(["0.1", "0.2", "0.3", "1.0", "2.5", "NULL"])

    t = [f"({key}, {number()}, {text()}, {real()})" for key in range(1, rng.randint(4, 8))]
    u = [f"({key}, {rng.randint(1, 6)}, {text()})" for key in range(1, rng.randint(4, 8))]
    return (
        "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, s TEXT, r REAL);"
        "CREATE TABLE u(uid INTEGER PRIMARY KEY, tid INTEGER REFERENCES t(id), w TEXT);"
        f"INSERT INTO t VALUES {', '.join(t)}; INSERT INTO u VALUES {', '.join(u)};"
    )


COLUMNS = {"t": ["id", "n", "s", "r"], "t JOIN u ON tid = id": ["id", "n", "s", "r", "uid", "w"]}
CONDITIONS = ["n > 1", "n = 0", "s = 'a'", "r < 1", "id > 2", "n IS NULL", "s <> 'a'", "n > 9"]


def draw_query(rng: random.Random) -> tuple[list[str], str, str, list[int]]:
    """Selected columns, FROM and WHERE, what stands behind, and the columns it is sorted by."""
    source = rng.choice(list(COLUMNS))
    where = rng.choice(["", f" WHERE {rng.choice(CONDITIONS)}"])
    if rng.random() < 0.3:
        group = rng.choice(["n", "s"])
        value = rng.choice(["COUNT(*)", "SUM(n)", "MAX(id)", "AVG(r)", "COUNT(DISTINCT s)"])
        columns, tail = [group, value], f" GROUP BY {group}"
    else:
        columns = rng.sample(COLUMNS[source], rng.randint(1, 3))
        tail = ""
    keys = rng.sample(range(len(columns)), rng.choice([0, 0, 1, len(columns)]))
    order = ", ".join(f"{key + 1}{rng.choice(['', ' DESC'])}" for key in keys)
    return columns, f" FROM {source}{where}", tail + (f" ORDER BY {order}" if keys else ""), keys


def sql_of(columns: list[str], body: str, tail: str) -> str:
    return f"SELECT {', '.join(columns)}{body}{tail}"


def slow_verdict(rows, gold_rows, keys) -> bool:
    """Equal bags under some order of columns, and equal sort keys row by row."""
    if len(rows) != len(gold_rows):
        return False
    width = len(gold_rows[0])
    gold = [tuple(map(cell, row)) for row in gold_rows]
    for places in itertools.permutations(range(width)):
        other = [tuple(cell(row[place]) for place in places) for row in rows]
        sorted_alike = all(
            [row[key] for row in gold] == [row[key] for row in other] for key in keys
        )
        if sorted_alike and Counter(gold) == Counter(other):
            return True
    return False


def cell(value):
    """Numbers to ten digits, told from texts; the values drawn here are far apart."""
    return value if value is None or isinstance(value, str) else ("number", f"{value:.10g}")


def rewritten(columns: list[str], body: str, tail: str, rng: random.Random) -> str:
    """The same query in other words; a query that is not sorted may come in any order."""
    body = body.replace("n > 1", "NOT (n <= 1)").replace("s = 'a'", "'a' IN (s)")
    body = body.replace("r < 1", "1 > r").replace("id > 2", "id >= 3 AND id > 1")
    body = body.replace("t JOIN u ON tid = id", "u INNER JOIN t ON u.tid = t.id")
    columns = [column.replace("COUNT(*)", "SUM(1)") for column in columns]
    if "ORDER BY" in tail:
        grouped = "GROUP BY" in tail
        return sql_of(columns, body, tail + ("" if grouped else ", id DESC"))
    mixed = rng.sample(columns, len(columns))
    inner = sql_of([f"{one} AS c{place}" for place, one in enumerate(mixed)], body, tail)
    return f"WITH q AS ({inner}) SELECT * FROM q ORDER BY KEY".replace(
        "KEY", rng.choice(["c0", "c0 DESC", "1"])
    )


def test_strict_agrees_with_the_slow_judge_and_accepts_rewritten_queries(open_database, judge):
    verdicts: Counter[bool] = Counter()
    for seed in range(DATABASES):
        rng = random.Random(seed)
        database = open_database(database_script(rng))
        for _ in range(PAIRS):
            gold, predicted = draw_query(rng), draw_query(rng)
            if rng.random() < 0.7 and set(gold[0]) <= set(COLUMNS["t"]):  # another filter only
                predicted = (gold[0], predicted[1], gold[2], gold[3])
            gold_sql, sql = sql_of(*gold[:3]), sql_of(*predicted[:3])
            rows, gold_rows = (database.execute(q, max_rows=99).rows for q in (sql, gold_sql))
            if gold_rows and len(predicted[0]) == len(gold[0]):
                right = slow_verdict(rows, gold_rows, gold[3])
                verdicts[right] += 1
                one = judge(MATCHERS["strict_one_database"](), gold_sql, sql, database)
                assert one == right, (gold_sql, sql)
            other = rewritten(*gold[:3], rng)
            assert judge(Strict(), gold_sql, other, database) == 1.0, (gold_sql, other)
    assert verdicts[True] >= 10 and verdicts[False] >= 50  # both kinds were drawn

"""Prediction files in the formats that the official evaluators of BIRD and Spider read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from text2sql_gym.types import Task

_NONE = "SELECT"
"""Written where there is no answer: a line that no engine accepts, since a blank line has a
meaning of its own in Spider's files."""


def bird_predictions(tasks: Sequence[Task], queries: Sequence[str]) -> str:
    r"""BIRD's ``predict_dev.json``: {"0": "SQL\t----- bird -----\tdb_id", ...}.

    The keys are places in the list of tasks, which are those of ``dev.json`` when the whole
    split was answered; `gold_lines` writes the gold file of the same tasks. An unanswered
    question has an empty query.
    """
    pairs = zip(tasks, queries, strict=True)
    found = {
        str(place): f"{sql.strip()}\t----- bird -----\t{task.database_id}"
        for place, (task, sql) in enumerate(pairs)
    }
    return json.dumps(found, indent=4, ensure_ascii=False) + "\n"


def spider_predictions(tasks: Sequence[Task], queries: Sequence[str]) -> str:
    """Spider's prediction file: a query a line, in the order of the tasks.

    An unanswered question is written as a query that fails.
    """
    lines = (flattened(sql) or _NONE for _, sql in zip(tasks, queries, strict=True))
    return "".join(f"{line}\n" for line in lines)


def gold_lines(tasks: Sequence[Task]) -> str:
    r"""The gold file both evaluators read: ``SQL\tdb_id`` a line, the first gold of each task."""
    pairs = ((task.gold_sql[0] if task.gold_sql else _NONE, task.database_id) for task in tasks)
    return "".join(f"{flattened(sql)}\t{database_id}\n" for sql, database_id in pairs)


def flattened(sql: str) -> str:
    """Return `sql` on one line without tabs: comments dropped, white space outside quotes evened.

    A line break or tab within quotes becomes a space, which changes the query; a format of a
    query a line cannot hold it. The last ``;`` is dropped.
    """
    parts = (found["kept"] or " " for found in _TOKEN.finditer(sql))
    return re.sub(r"\s", " ", "".join(parts)).strip().rstrip("; ")


_TOKEN = re.compile(
    r"""
      (?: \s | --[^\n]* | /\*.*?(?:\*/|\Z) )+
    | (?P<kept> '(?:[^']+|'')*(?:'|\Z) | "(?:[^"]+|"")*(?:"|\Z) | `[^`]*(?:`|\Z)
              | \[[^\]]*(?:\]|\Z) | . )
    """,
    re.VERBOSE | re.DOTALL,
)

WRITERS = {
    "predict_dev.json": bird_predictions,
    "predictions.sql": spider_predictions,
}
"""How each prediction file is written, by its name."""

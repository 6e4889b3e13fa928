"""Schema linking: does a step's query read what the gold query reads?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from text2sql_gym.rewards.schema_linking import overlap
from text2sql_gym.rewards.statements import named_by, ran, sql_of
from text2sql_gym.types import Transition

Score = Literal["precision", "recall", "f1"]
Source = Literal["engine", "text"]


@dataclass(frozen=True)
class SchemaLinking:
    """Agreement of the columns this step's query reads with those the gold query reads.

    score   "precision": the share of its columns that the gold query reads too; "recall": the
            share of the gold query's columns that it reads; "f1": their harmonic mean
    source  "engine": what the engine read, with all a star stands for, and the tables behind a
            view; blind to the right side of USING and NATURAL, and to conditions that are never
            evaluated. "text": what the statements name, by parsing; blind to NATURAL and to
            what a view reads.

    Columns are (table, column) pairs; a table of which no column is read counts as one. Best over
    the golds. A step that fails or repeats an earlier call earns 0, and so does any step when the
    gold query reads no table.

    Range: [0, 1].

    Gamed by: ``SELECT *`` for recall: 1. A query that mentions the right columns and answers
    nothing (``SELECT 1 WHERE EXISTS (SELECT city FROM sale)``) for each of them: 1.

    Source: the recall half of the schema rewards of Reasoning-SQL (arXiv 2503.23157) and others,
    which compare what the texts name; the engine as a witness is our choice.
    """

    score: Score = "f1"
    source: Source = "engine"

    def __call__(self, transition: Transition) -> float:
        """Judge one turn."""
        table = transition.result.table
        if table is None or not ran(transition.result):
            return 0.0
        if self.source == "engine":
            pairs = [(table.reads, gold.reads) for gold in transition.gold]
        else:
            read = named_by(transition, sql_of(transition.call))
            pairs = [(read, named_by(transition, sql)) for sql in transition.task.gold_sql]
        scores = [getattr(overlap(read, wanted), self.score) for read, wanted in pairs if wanted]
        return max(scores, default=0.0)

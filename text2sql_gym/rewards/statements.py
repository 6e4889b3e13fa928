"""What reward terms ask of a turn's SQL: did it run, what does its text name?"""

from __future__ import annotations

from functools import lru_cache

import sqlglot
from sqlglot import exp

from text2sql_gym.backends.sql_reads import reads
from text2sql_gym.remembered import by_identity
from text2sql_gym.sql_text import dialect_of
from text2sql_gym.tools.cte_chain import last_view
from text2sql_gym.types import (
    CallOutcome,
    Schema,
    ToolCall,
    ToolResult,
    Transition,
    Turn,
)

Pairs = frozenset[tuple[str, str]]
"""(table, column), or (table, "") for a table of which no column is named"""

_LONGEST = 10_000  # characters; parsing more would cost more than running it


def ran(result: ToolResult) -> bool:
    """Whether the call gave a result that no earlier call had given."""
    return result.table is not None and result.outcome in (CallOutcome.OK, CallOutcome.TRUNCATED)


def sql_of(call: ToolCall | None) -> str:
    """The statement of a call, "" where it has none; a chain of views alone shows its last one."""
    sql = call.arguments.get("sql", "") if call else ""
    return last_view(sql) if call and call.tool == "run_ctes" else sql


def turns_of(transition: Transition) -> tuple[Turn, ...]:
    """Every turn of the episode so far, this one included."""
    return (*transition.history, Turn(transition.call, transition.result))


@lru_cache(maxsize=1_024)
def tree_of(sql: str, database: str) -> exp.Query | None:
    """Parse a query in the dialect of its database; None for what is no query or very long.

    The tree is shared: read it, or change a copy.
    """
    if len(sql) > _LONGEST:
        return None
    try:
        tree = sqlglot.parse_one(sql, dialect=dialect_of(database))
    except (sqlglot.errors.SqlglotError, RecursionError):
        return None
    return tree if isinstance(tree, exp.Query) else None


@by_identity(1_024)
def named_in(schema: Schema, sql: str, database: str) -> Pairs:
    """The tables and columns of `schema` that the text of a query names, in its spelling.

    A star names every column of its tables, USING the columns of both sides; NATURAL names none.
    Empty for a text that is no query.
    """
    tree = tree_of(sql, database)
    if tree is None:
        return frozenset()
    tables = {table.name: {one.name: one.type for one in table.columns} for table in schema}
    return reads(tree, tables, dialect_of(database))


def named_by(transition: Transition, sql: str) -> Pairs:
    """What a query over the database of this turn names."""
    return named_in(transition.schema, sql, transition.task.database)

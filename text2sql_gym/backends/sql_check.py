"""Refuse SQL that does more than read, by its parse tree: for engines without an authorizer.

The engines' own protection (read-only connections, transactions, locked settings) stands behind
this check. It runs in the worker process, because a hostile text can keep a parser busy.
"""

from __future__ import annotations

import re

import sqlglot
from sqlglot import exp

from text2sql_gym.backends.answers import Refused

SELECT_ONLY = "only SELECT is allowed"

_STATEMENTS = (exp.Query, exp.Values)

_WRITES = (exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock, exp.TableSample)
"""Nodes of statements that write, lock or sample, wherever they stand in the tree."""

_VOLATILE = (
    exp.Rand,
    exp.Uuid,
    exp.CurrentDate,
    exp.CurrentDatetime,
    exp.CurrentTime,
    exp.CurrentTimestamp,
    exp.CurrentUser,
    exp.CurrentVersion,
    exp.Localtime,
    exp.Localtimestamp,
    exp.SessionUser,
)

_FUNCTIONS = {
    "duckdb": r"duckdb_|pragma_|read_|parquet_|sniff_|glob|query|which_secret|current_|get_|txid_"
    r"|now|today|uuid|gen_random|random|setseed|nextval|currval|version|checkpoint|force_"
    r"|test_|repeat_row|summary|seq_scan|index_scan|sqlite_|postgres_|mysql_|getvariable|getenv"
    r"|sql_auto_complete|json_execute|from_substrait|arrow_scan|pandas_scan|python_|pg_|inet_"
    r"|ago$|transaction_|sleep|write_log|truncate_|enable_|disable_|register_|deregister_|destroy_"
    r"|create_external|setval|stats$|vector_type|reservoir_|in_search_path",
    "postgres": r"pg_|lo_|dblink|query_to_|cursor_to_|table_to_|schema_to_|database_to_|set_config"
    r"|current_|session_|inet_|random|setseed|gen_random|uuid_generate|nextval|setval|currval"
    r"|lastval|txid_|clock_|statement_|transaction_|timeofday|now|version|has_|row_security"
    r"|brin_|gin_|xmlparse|ts_stat|ts_rewrite|currtid|mxid_age|getpgusername|loread|lowrite"
    r"|binary_upgrade",
}
"""Beginnings of function names that reach outside the database or differ from call to call."""

_TABLES = {
    "duckdb": r"duckdb_|pragma_|pg_|.*[./\\]",
    "postgres": r"pg_",
}
"""The same for tables: views of the engine, and files read by their name."""

_WORDS_FOR_NOW = frozenset(("now", "today", "tomorrow", "yesterday"))
_WORDS_OF_TIMES = frozenset(
    "mon tue wed thu fri sat sun monday tuesday wednesday thursday friday saturday sunday"
    " jan feb mar apr may jun jul aug sep oct nov dec january february march april june july august"
    " september october november december am pm z zulu utc gmt bst cet cest est edt cst cdt mst mdt"
    " pst pdt ist jst epoch allballs on at t j d".split()
)
"""What may stand beside a word for now in a text that PostgreSQL reads as a time."""


def checked(sql: str, dialect: str) -> exp.Expression:
    """Return the parse tree of one statement that only reads. Raises `Refused`."""
    if "\0" in sql:
        raise Refused("sql_error", "the statement contains a NUL character")
    statements = [tree for tree in _parsed(sql, dialect) if not isinstance(tree, exp.Semicolon)]
    if not statements:
        raise Refused("sql_error", "no statement: the text is empty or only a comment")
    if len(statements) > 1:
        raise Refused("not_allowed", "more than one statement in one call")
    _check_tree(statements[0], dialect)
    return statements[0]


def _parsed(sql: str, dialect: str) -> list[exp.Expression]:
    try:
        sql.encode()
        trees = sqlglot.parse(sql, dialect=dialect)
        return [tree for tree in trees if isinstance(tree, exp.Expression)]
    except UnicodeEncodeError as error:
        raise Refused("sql_error", "the statement is not valid Unicode text") from error
    except RecursionError as error:
        raise Refused("sql_error", "the statement is nested too deeply") from error
    except sqlglot.errors.ParseError as error:
        where = error.errors[0] if error.errors else {}
        message = f"{where.get('description', error)} at {where.get('highlight', '')!r}"
        raise Refused("sql_error", f"syntax error: {message}"[:300]) from error
    except sqlglot.errors.SqlglotError as error:
        raise Refused("sql_error", f"syntax error: {error}"[:300]) from error


def _check_tree(tree: exp.Expression, dialect: str) -> None:
    if isinstance(tree, exp.Condition):  # a bare expression, such as a misspelt keyword
        raise Refused("sql_error", f"syntax error: {tree.sql()[:200]!r} is no statement")
    if not isinstance(tree, _STATEMENTS):
        raise Refused("not_allowed", SELECT_ONLY)
    for node in tree.walk():
        if isinstance(node, _WRITES):
            raise Refused("not_allowed", SELECT_ONLY)
        if isinstance(node, exp.Func):
            _check_function(node, dialect)
        elif isinstance(node, exp.Table) and re.match(_TABLES[dialect], node.name, re.IGNORECASE):
            raise Refused("not_allowed", f"table {node.name} may not be read")
        elif isinstance(node, exp.Literal) and node.is_string:
            _check_text(node.this, dialect)


def _check_function(node: exp.Func, dialect: str) -> None:
    anonymous = isinstance(node, exp.Anonymous | exp.AnonymousAggFunc)
    name = (node.name if anonymous else node.sql_name()).lower()
    to_now = name == "age" and len(node.expressions) == 1  # of two times it is what they say
    if to_now or isinstance(node, _VOLATILE) or re.match(_FUNCTIONS[dialect], name):
        raise Refused("not_allowed", f"function {name} is not allowed")


def _check_text(text: str, dialect: str) -> None:
    """PostgreSQL reads 'now' and 'today 10:00' as the time wherever a time is expected."""
    words = text.lower().replace(",", " ").split()
    if dialect != "postgres" or _WORDS_FOR_NOW.isdisjoint(words):
        return
    others = [word for word in words if word.isalpha() and word not in _WORDS_FOR_NOW]
    if _WORDS_OF_TIMES.issuperset(others):
        raise Refused("not_allowed", f"the text {text!r} is not allowed: it can mean the time")

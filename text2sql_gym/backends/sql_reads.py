"""Say which columns a query reads, by its parse tree: for engines without an authorizer."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, traverse_scope

from text2sql_gym.backends.answers import Reads

Tables = dict[str, dict[str, str]]
"""Type by column by table, in the schema's spelling."""


def reads(tree: exp.Expr, tables: Tables, dialect: str) -> Reads:
    """Return the (table, column) pairs a query names, ``(table, "")`` where it names no column.

    A view is read under its own name, not as the tables behind it. A query that cannot be
    resolved gives its tables only.
    """
    spelled = {table.lower(): table for table in tables}
    try:
        schema: dict[str, object] = {**tables}
        qualified = qualify(
            tree.copy(), schema=schema, dialect=dialect, validate_qualify_columns=False
        )
        scopes = traverse_scope(qualified)
    except (SqlglotError, RecursionError):
        return frozenset((t, "") for t in _tables(tree, spelled))
    found = {pair for scope in scopes for pair in _of_scope(scope, tables, spelled)}
    named = {table for table, _ in found}
    whole = _tables(tree, spelled) - named
    return frozenset(found | {(table, "") for table in whole})


def _of_scope(scope: Scope, tables: Tables, spelled: dict[str, str]) -> set[tuple[str, str]]:
    found = set()
    for column in scope.columns:  # with those that subqueries take from this scope
        source = scope.sources.get(column.table)
        table = spelled.get(source.name.lower()) if isinstance(source, exp.Table) else None
        for name in tables.get(table or "", ()):
            if name.lower() == column.name.lower():
                found.add((table or "", name))
    return found


def _tables(tree: exp.Expr, spelled: dict[str, str]) -> set[str]:
    """Return the tables of the schema a query names; a CTE of the same name hides one."""
    hidden = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    names = {table.name.lower() for table in tree.find_all(exp.Table)} - hidden
    return {spelled[name] for name in names if name in spelled}

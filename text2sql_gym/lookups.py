"""Which stored texts a query compares columns with: what an analyst would have to look up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from text2sql_gym.prompts import quoted


@dataclass(frozen=True)
class Lookup:
    """A comparison of a column with a text in a query."""

    table: str
    column: str
    value: str

    @property
    def probe(self) -> str:
        """The query that shows the column's values."""
        return f"SELECT DISTINCT {quoted(self.column)} FROM {quoted(self.table)}"


def lookups(sql: str) -> list[Lookup]:
    """Every ``column = 'text'`` of a query, with the table found through the FROM clause.

    Comparisons whose table cannot be told, and queries that sqlglot cannot parse, give none.
    """
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
    except sqlglot.errors.SqlglotError:
        return []
    return list(dict.fromkeys(lookup for _, lookup in _comparisons(tree)))


def with_lookup(sql: str, old: Lookup, new: Lookup) -> str:
    """`sql` as sqlglot writes it, with every comparison `old` made the comparison `new`.

    The table stays: `new` may name another column of it, and another value.
    """
    tree = sqlglot.parse_one(sql, dialect="sqlite")
    for comparison, lookup in list(_comparisons(tree)):
        if lookup == old:
            column = exp.to_identifier(new.column, quoted=quoted(new.column) != new.column)
            comparison.this.set("this", column)
            comparison.set("expression", exp.Literal.string(new.value))
    return tree.sql(dialect="sqlite")


def spelt(value: str, question: str) -> bool:
    """Whether a question holds a value as it is stored, as words of its own."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", question) is not None


def _comparisons(tree: exp.Expr) -> Iterator[tuple[exp.EQ, Lookup]]:
    for comparison in tree.find_all(exp.EQ):
        column, value = comparison.this, comparison.expression
        if isinstance(column, exp.Column) and isinstance(value, exp.Literal) and value.is_string:
            table = _table_of(column)
            if table:
                yield comparison, Lookup(table, column.name, str(value.this))


def _table_of(column: exp.Column) -> str:
    select = column.find_ancestor(exp.Select)
    tables = {} if select is None else {
        table.alias_or_name: table.name
        for table in select.find_all(exp.Table)
        if table.parent_select is select  # a subquery may use the same alias for another table
    }
    if column.table:
        return str(tables.get(column.table, ""))
    return str(next(iter(tables.values()))) if len(tables) == 1 else ""

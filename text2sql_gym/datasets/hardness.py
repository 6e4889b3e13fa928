"""Spider's hardness of a query: easy, medium, hard or extra.

Source: taoyds/spider, evaluation.py (`Evaluator.eval_hardness`), which counts parts of its own
parse of the query. Here the parts are counted on sqlglot's tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import sqlglot
from sqlglot import exp

_AGGREGATES = (exp.Max, exp.Min, exp.Count, exp.Sum, exp.Avg)


@lru_cache(maxsize=20_000)
def hardness(sql: str) -> str:
    """Return easy, medium, hard or extra; empty for a query that cannot be parsed."""
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
    except sqlglot.errors.SqlglotError:
        return ""
    nested = int(isinstance(tree, exp.SetOperation))
    while isinstance(tree, exp.SetOperation):
        tree = tree.left
    if not isinstance(tree, exp.Select):
        return ""
    conditions = [*_conditions(tree, "where"), *_conditions(tree, "having"), *_joined_on(tree)]
    nested += sum(condition.find(exp.Select) is not None for condition in conditions)
    return _grade(_clauses(tree, conditions), nested, _others(tree))


def _grade(clauses: int, nested: int, others: int) -> str:
    """The official thresholds on the three counts."""
    if clauses <= 1 and others == 0 and nested == 0:
        return "easy"
    if nested == 0 and (others <= 2 and clauses <= 1 or clauses <= 2 and others < 2):
        return "medium"
    if nested == 0 and (others > 2 and clauses <= 2 or 2 < clauses <= 3 and others <= 2):
        return "hard"
    return "hard" if clauses <= 1 and others == 0 and nested <= 1 else "extra"


def _clauses(select: exp.Select, conditions: list[exp.Expr]) -> int:
    """Clauses, joins, ORs and LIKEs: the official ``count_component1``."""
    clauses = ("where", "group", "order", "limit")
    present = sum(select.args.get(name) is not None for name in clauses)
    joins = len(select.args.get("joins") or ())
    ors = sum(_is_or(condition) for condition in conditions)
    likes = sum(isinstance(_bare(condition), exp.Like) for condition in conditions)
    return present + joins + ors + likes


def _others(select: exp.Select) -> int:
    """Several aggregates, columns, conditions or groups: the official ``count_others``.

    As there, a NOT in a condition counts as an aggregate, and so does every connective of HAVING.
    """
    order = select.args.get("order")
    where = _conditions(select, "where")
    having = _conditions(select, "having")
    group = select.args.get("group")
    aggregates = sum(_is_aggregate(column) for column in select.expressions)
    aggregates += sum(_is_negated(condition) for condition in [*where, *having])
    aggregates += max(0, len(having) - 1)
    aggregates += sum(_is_aggregate(key.this) for key in order.expressions) if order else 0
    several_groups = group is not None and len(group.expressions) > 1
    counts = (aggregates > 1, len(select.expressions) > 1, len(where) > 1, several_groups)
    return sum(counts)


def _conditions(select: exp.Select, clause: str) -> list[exp.Expr]:
    """The conditions of a clause, split at AND and OR."""
    node = select.args.get(clause)
    return list(_split(node.this)) if node is not None else []


def _joined_on(select: exp.Select) -> list[exp.Expr]:
    joins = select.args.get("joins") or ()
    return [part for join in joins if join.args.get("on") for part in _split(join.args["on"])]


def _split(node: exp.Expr) -> Iterator[exp.Expr]:
    node = node.unnest()
    if isinstance(node, exp.And | exp.Or):
        yield from _split(node.left)
        yield from _split(node.right)
    else:
        yield node


def _is_or(condition: exp.Expr) -> bool:
    """Whether the condition stands right of an OR: there is one such for each OR."""
    node = condition
    while isinstance(node.parent, exp.Paren | exp.And) and node.parent.this is node:
        node = node.parent
    return isinstance(node.parent, exp.Or) and node.parent.expression is node


def _bare(condition: exp.Expr) -> exp.Expr:
    return condition.this.unnest() if isinstance(condition, exp.Not) else condition


def _is_negated(condition: exp.Expr) -> bool:
    return isinstance(condition, exp.Not)


def _is_aggregate(column: exp.Expr) -> bool:
    return isinstance(column.unalias(), _AGGREGATES)

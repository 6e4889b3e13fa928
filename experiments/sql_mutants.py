"""Queries made from a gold query: near misses, and other ways to say the same.

Used to measure how many wrong answers a matcher pays for, and how many right ones it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sqlglot
from sqlglot import exp

Rewrite = Callable[[exp.Expr], Iterator[exp.Expr]]
"""Yields rewritten copies of a query; the query itself is left as it was."""


def rewritten(sql: str, rewrites: dict[str, Rewrite]) -> Iterator[tuple[str, str]]:
    """Yield (name of the rewrite, query); nothing for a query that sqlglot cannot read."""
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
    except sqlglot.errors.SqlglotError:
        return
    for name, rewrite in rewrites.items():
        for changed in rewrite(tree):
            yield name, changed.sql(dialect="sqlite")


def _each(
    tree: exp.Expr, kind: type[exp.Expr], change: Callable[[exp.Expr], bool]
) -> Iterator[exp.Expr]:
    """Change one node of a kind per copy; `change` works in place and says whether it did."""
    for place in range(len(list(tree.find_all(kind)))):
        copy = tree.copy()
        if change(list(copy.find_all(kind))[place]):
            yield copy


def _drop(argument: str) -> Rewrite:
    def change(node: exp.Expr) -> bool:
        had = node.args.get(argument) is not None
        node.set(argument, None)
        return had

    return lambda tree: _each(tree, exp.Select, change)


def _drop_condition(tree: exp.Expr) -> Iterator[exp.Expr]:
    def change(node: exp.Expr) -> bool:
        node.replace(node.this)
        return True

    return _each(tree, exp.And, change)


def _add_distinct(node: exp.Expr) -> bool:
    if node.args.get("distinct"):
        return False
    node.set("distinct", exp.Distinct())
    return True


def _replace(kinds: dict[type[exp.Expr], type[exp.Expr]]) -> Rewrite:
    def become(kind: type[exp.Expr]) -> Callable[[exp.Expr], bool]:
        def change(node: exp.Expr) -> bool:
            node.replace(kind(**node.args))
            return True

        return change

    def all_of(tree: exp.Expr) -> Iterator[exp.Expr]:
        for old, new in kinds.items():
            yield from _each(tree, old, become(new))

    return all_of


def _distinct_count(node: exp.Expr) -> bool:
    counted = node.this
    if isinstance(counted, exp.Distinct):
        node.set("this", counted.expressions[0])
    elif isinstance(counted, exp.Column):
        node.set("this", exp.Distinct(expressions=[counted.copy()]))
    return isinstance(counted, exp.Distinct | exp.Column)


def _other_literal(node: exp.Expr) -> bool:
    if isinstance(node.parent, exp.Limit | exp.Offset):
        return False
    text = node.name
    node.set("this", str(int(text) + 1) if text.isdigit() else text + "x")
    return True


def _other_limit(node: exp.Expr) -> bool:
    node.expression.set("this", str(int(node.expression.name) + 1))
    return True


def _turn_order(node: exp.Expr) -> bool:
    node.set("desc", not node.args.get("desc"))
    return True


def _left_join(node: exp.Expr) -> bool:
    if node.args.get("side"):
        return False
    node.set("side", "LEFT")
    return True


WRONG: dict[str, Rewrite] = {
    "drop WHERE": _drop("where"),
    "drop HAVING": _drop("having"),
    "drop ORDER BY": _drop("order"),
    "drop one condition": _drop_condition,
    "drop DISTINCT": _drop("distinct"),
    "add DISTINCT": lambda tree: _each(tree, exp.Select, _add_distinct),
    "other aggregate": _replace(
        {exp.Min: exp.Max, exp.Max: exp.Min, exp.Avg: exp.Sum, exp.Sum: exp.Avg}
    ),
    "COUNT(DISTINCT)": lambda tree: _each(tree, exp.Count, _distinct_count),
    "other comparison": _replace(
        {exp.GT: exp.GTE, exp.GTE: exp.GT, exp.LT: exp.LTE, exp.LTE: exp.LT, exp.EQ: exp.GTE}
    ),
    "AND for OR": _replace({exp.Or: exp.And, exp.And: exp.Or}),
    "other literal": lambda tree: _each(tree, exp.Literal, _other_literal),
    "other LIMIT": lambda tree: _each(tree, exp.Limit, _other_limit),
    "turned order": lambda tree: _each(tree, exp.Ordered, _turn_order),
}
"""Near misses; some of them mean the same all the same, such as DISTINCT over a key."""


def _swap_sides(node: exp.Expr) -> bool:
    left, right = node.this.copy(), node.expression.copy()
    node.set("this", right)
    node.set("expression", left)
    return True


def _negated(node: exp.Expr) -> bool:
    opposite = exp.LTE if isinstance(node, exp.GT) else exp.GTE
    node.replace(exp.Not(this=exp.Paren(this=opposite(**node.args))))
    return True


def _count_one(node: exp.Expr) -> bool:
    if not isinstance(node.this, exp.Star):
        return False
    node.set("this", exp.Literal.number(1))
    return True


def _distinct_to_group(node: exp.Expr) -> bool:
    assert isinstance(node, exp.Select)
    plain = all(isinstance(column, exp.Column) for column in node.selects)
    if not node.args.get("distinct") or node.args.get("group") or not plain:
        return False
    node.set("distinct", None)
    node.set("group", exp.Group(expressions=[column.copy() for column in node.selects]))
    return True


def _reverse_columns(tree: exp.Expr) -> Iterator[exp.Expr]:
    by_number = any(key.this.is_int for key in tree.find_all(exp.Ordered))
    if isinstance(tree, exp.Select) and len(tree.selects) > 1 and not by_number:
        yield tree.copy().select(*reversed(tree.selects), append=False)


def _as_subquery(tree: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(tree, exp.Query) and not tree.args.get("order"):
        yield exp.select("*").from_(tree.copy().subquery("answer"))


RIGHT: dict[str, Rewrite] = {
    "AND swapped": lambda tree: _each(tree, exp.And, _swap_sides),
    "equality swapped": lambda tree: _each(tree, exp.EQ, _swap_sides),
    "comparison negated": lambda tree: _each(tree, exp.GT, _negated),
    "comparison negated (<)": lambda tree: _each(tree, exp.LT, _negated),
    "COUNT(1)": lambda tree: _each(tree, exp.Count, _count_one),
    "GROUP BY for DISTINCT": lambda tree: _each(tree, exp.Select, _distinct_to_group),
    "columns reversed": _reverse_columns,
    "in a subquery": _as_subquery,
}
"""The same question in other words: right on every database."""


def _maximum(tree: exp.Expr) -> Iterator[exp.Expr]:
    """``ORDER BY x DESC LIMIT 1`` as ``WHERE x = (SELECT MAX(x) ...)``, over one table."""
    order = tree.args.get("order")
    simple = not any(tree.args.get(part) for part in ("where", "group", "joins", "distinct"))
    if (
        not isinstance(tree, exp.Select)
        or not simple
        or order is None
        or len(order.expressions) > 1
    ):
        return
    limit, key = tree.args.get("limit"), order.expressions[0]
    if limit is None or limit.expression.name != "1" or not isinstance(key.this, exp.Column):
        return
    extreme = (exp.Max if key.args.get("desc") else exp.Min)(this=key.this.copy())
    best = exp.select(extreme).from_(tree.args["from_"].this.copy())
    copy = tree.copy()
    copy.set("order", None)
    copy.set("limit", None)
    yield copy.where(exp.EQ(this=key.this.copy(), expression=best.subquery()))


def _limit(tree: exp.Expr) -> Iterator[exp.Expr]:
    """``WHERE x = (SELECT MAX(x) FROM t)`` as ``ORDER BY x DESC LIMIT 1``, over one table."""
    where = tree.args.get("where")
    if not isinstance(tree, exp.Select) or where is None or not isinstance(where.this, exp.EQ):
        return
    key, best = where.this.this, where.this.expression
    selected = best.this.selects[0] if isinstance(best, exp.Subquery) else None
    if isinstance(selected, exp.Max | exp.Min) and not best.this.args.get("where"):
        copy = tree.copy()
        copy.set("where", None)
        yield copy.order_by(exp.Ordered(this=key.copy(), desc=isinstance(selected, exp.Max))).limit(
            1
        )


def _group_by_name(tree: exp.Expr) -> Iterator[exp.Expr]:
    """Group by the first selected column where the gold groups by something else."""
    group = tree.args.get("group")
    if not isinstance(tree, exp.Select) or group is None or len(group.expressions) != 1:
        return
    named = [column for column in tree.selects if isinstance(column, exp.Column)]
    if named and named[0] != group.expressions[0]:
        copy = tree.copy()
        copy.set("group", exp.Group(expressions=[named[0].copy()]))
        yield copy


def _count_column(tree: exp.Expr) -> Iterator[exp.Expr]:
    """COUNT(*) as COUNT of a column that the query mentions."""
    columns = [column for column in tree.find_all(exp.Column)]
    for column in columns[:1]:

        def change(node: exp.Expr, column: exp.Expr = column) -> bool:
            if not isinstance(node.this, exp.Star):
                return False
            node.set("this", column.copy())
            return True

        yield from _each(tree, exp.Count, change)


DEBATABLE: dict[str, Rewrite] = {
    "MAX for LIMIT 1": _maximum,
    "LIMIT 1 for MAX": _limit,
    "GROUP BY the shown column": _group_by_name,
    "COUNT(column)": _count_column,
    "LEFT JOIN": lambda tree: _each(tree, exp.Join, _left_join),
}
"""Right where the data are as they are: no tie, no NULL, names unique, references whole."""

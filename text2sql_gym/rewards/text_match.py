"""Agreement of the submitted text with the gold query's text."""

from __future__ import annotations

from sqlglot import exp

from text2sql_gym.rewards.schema_linking import overlap
from text2sql_gym.rewards.statements import named_by, ran, sql_of, tree_of
from text2sql_gym.sql_text import normalized
from text2sql_gym.types import Table, ToolResult, Transition


def exact_match(transition: Transition) -> float:
    """1.0 on a submission that runs and is a gold query up to case, spaces and comments, else 0.0.

    Range: {0, 1}.

    Gamed by: nothing short of the gold query. A right answer in other words earns 0.

    Source: the exact-match reward of ReEx-SQL (arXiv 2505.12768), whose rule is not public; this
    one is our reconstruction.
    """
    if not _answers(transition.result):
        return 0.0
    written = normalized(sql_of(transition.call))
    return float(any(written == normalized(sql) for sql in transition.task.gold_sql))


def entity_match(transition: Transition) -> float:
    """On a submission that runs: F1 of the tables, columns and literals it names, and the gold's.

    Paid only for a result as wide as the gold's. Best over the golds. Texts are parsed; a gold
    query that cannot be parsed, or names nothing, pays nothing.

    Range: [0, 1].

    Gamed by: naming the right things in the wrong places (``price < 5`` for ``price > 5``): 1.
    Naming more than is needed, as with a list of guessed constants: less.

    Source: the entity-match reward of ReEx-SQL (arXiv 2505.12768), whose rule is not public; this
    one is our reconstruction.
    """
    table = transition.result.table
    if table is None or not _answers(transition.result):
        return 0.0
    named = _entities(transition, sql_of(transition.call))
    golds = zip(transition.task.gold_sql, transition.gold, strict=False)
    wanted = [_entities(transition, sql) for sql, gold in golds if _as_wide(gold, table)]
    return max((overlap(named, entities).f1 for entities in wanted if entities), default=0.0)


def _answers(result: ToolResult) -> bool:
    return result.final and ran(result)


def _as_wide(one: Table, other: Table) -> bool:
    return len(one.columns) == len(other.columns)


def _entities(transition: Transition, sql: str) -> frozenset[object]:
    return named_by(transition, sql) | _literals(sql, transition.task.database)


def _literals(sql: str, database: str) -> frozenset[object]:
    tree = tree_of(sql, database)
    found = tree.find_all(exp.Literal) if tree is not None else ()
    return frozenset(("literal", literal.is_string, literal.name.lower()) for literal in found)

"""Value recall: does a step show the stored values that the answer has to name?"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain

from text2sql_gym.lookups import lookups, spelt
from text2sql_gym.rewards.statements import ran
from text2sql_gym.types import Transition


def value_recall(transition: Transition) -> float:
    """Share of the values to look up that stand in this call's result, best over the golds.

    A value to look up is a text that the gold query compares a column with and that the question
    does not spell as it is stored. Compared exactly. Where there is none, where the step fails,
    repeats an earlier call or is the answer: 0.

    Range: [0, 1].

    Gamed by: ``SELECT *`` over a small table that has the value, again in other words, or a guess
    that is right (``SELECT 'NORTH_F'``): 1 each. On a question that spells all its values no call
    earns anything.

    Source: ours. Recall of the answer's cells, as in `cell_recall`, pays nothing for the look at
    how a value is stored, without which some questions cannot be answered.
    """
    result = transition.result
    if result.table is None or result.final or not ran(result):
        return 0.0
    task = transition.task
    golds = [found for sql in task.gold_sql if (found := _values_to_find(sql, task.question))]
    if not golds:
        return 0.0
    shown = set(chain.from_iterable(result.table.rows))
    return max(len(wanted & shown) / len(wanted) for wanted in golds)


@lru_cache(maxsize=4_096)
def _values_to_find(sql: str, question: str) -> frozenset[str]:
    """The texts of a query that the question does not spell."""
    return frozenset(found.value for found in lookups(sql) if not spelt(found.value, question))

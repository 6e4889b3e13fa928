"""The recall of cells takes short cuts; here it is held to its definition."""

import itertools
import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from text2sql_gym.rewards.recall import cell_recall
from text2sql_gym.types import CallOutcome, Table, Task, ToolResult, Transition

NUMBERS = [
    0, 1, -1, 999_999, 1_000_000, 1_234_567, 1_234_570, 2**60, -(2**60) - 1,
    0.5, 1.0, -0.0, 0.1 + 0.2, 0.3, 1e-9, 123_456.7, 123_457, 999_999.5,
    -5.5, -5.500001, -5.50001, 1e25, math.nan, math.inf, -math.inf,
]
CELLS = st.sampled_from([*NUMBERS, None, b"x", "x", "X ", "nan", "", "3"])
TABLES = st.lists(st.tuples(CELLS, CELLS), max_size=5).map(
    lambda rows: Table(("a", "b"), tuple(rows))
)


def canonical(cell):
    if isinstance(cell, str):
        return cell.strip().lower()
    if isinstance(cell, (int, float)):
        return "nan" if math.isnan(cell) else float(f"{cell:.6g}")
    return cell


def recall_by_definition(table, gold):
    wanted, found = (
        {canonical(cell) for cell in itertools.chain(*rows)} for rows in (gold.rows, table.rows)
    )
    return len(wanted & found) / len(wanted) if wanted else float(not found)


def recall(table, *golds):
    result = ToolResult("", CallOutcome.OK, table)
    return cell_recall(Transition(Task("t", "d", "q"), golds, None, result))


@settings(deadline=None, max_examples=300)
@given(TABLES, TABLES)
@example(Table(("a",), ((123_457,),)), Table(("a",), ((123_456.7,),)))
@example(Table(("a",), ((999_999.5,),)), Table(("a",), ((1_000_000,),)))
@example(Table(("a",), ((-5.500001,),)), Table(("a",), ((-5.5,),)))
def test_the_recall_of_cells_is_the_share_of_distinct_gold_cells_found(table, gold):
    assert recall(table, gold) == recall_by_definition(table, gold)


def test_a_gold_too_large_to_be_remembered_is_credited_alike():
    gold = Table(("n",), tuple((number,) for number in range(3_000)))
    assert recall(Table(("n",), gold.rows[:750]), gold) == 0.25


def test_the_best_of_several_golds_counts():
    golds = [Table(("n",), ((1,), (2,))), Table(("n",), ((3,),))]
    assert recall(Table(("n",), ((3,),)), *golds) == 1.0

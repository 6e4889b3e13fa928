"""The protocol of Reward-SQL: the answer is a chain of common table expressions (CoCTE).

Every view of the chain is a step of the reasoning that can be run by itself: the tools run
``WITH <the views so far> SELECT * FROM <this view>`` for each, and a reward finds the tables in
``transition.result.views``.

Source: arXiv 2505.04671 and its repository ruc-datalab/RewardSQL: the chain, and the result of
every prefix as what its process reward model reads. There the whole answer is one turn without
tags. The tags, the trial turns and the wording of the prompt are our reconstruction; a policy that
answers in its first turn holds the episode of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from text2sql_gym.protocols.sql_turns import SqlTurns

_SYSTEM = """\
You answer questions over a {dialect} database with one SQL query that is built step by step: a \
chain of common table expressions (views), each one step of your reasoning.{unknown}

Instructions:
{rules}
- Steps: every view must run by itself, with the views before it, and bring you closer to the \
answer.

You have {turns} turns. The last one must be the final query. Each turn is one of these two:

<think>what the next view is for</think>
<cte>WITH first_step AS (SELECT ...), second_step AS (SELECT ... FROM first_step)</cte>
{run_ctes} Write the whole chain so far each time, with nothing behind its last view. It is \
answered with the columns and the first {rows} rows, or with the error of the first view that fails.

<think>why this is the answer</think>
<final_sql>WITH first_step AS (SELECT ...), second_step AS (SELECT ... FROM first_step) \
SELECT ... FROM second_step</final_sql>
{submit_ctes}

Write nothing outside the tags."""


@dataclass(frozen=True)
class CoCte(SqlTurns):
    """``<think>…</think>`` then ``<cte>WITH a AS (…), …</cte>`` or ``<final_sql>WITH … SELECT …``.

    A final query without a chain is judged like any other, and has no views to be credited for.

    dialect  the SQL dialect named in the instructions; "" is that of the task's database
    schema   "full" shows the schema in the prompt, as in the paper; "unknown" leaves it out, and
             the catalogue of the engine is where to find it
    """

    system: ClassVar[str] = _SYSTEM
    tags: ClassVar[MappingProxyType[str, str]] = MappingProxyType(
        {"run_ctes": "cte", "submit_ctes": "final_sql"}
    )

"""The protocol of ReEx-SQL: think, run an intermediate query, think again, give the final one.

Source: arXiv 2505.12768: the four tags, and that column names with a few rows, or the error, come
back in ``<result>``. The paper shows 3 rows and allows 10 executions: ``limits={"shown_rows": 3}``
and ``max_turns=11``. There a turn ends at ``</intermediate_sql>`` and the result goes on in the
same message; here it is a message of its own. The wording of the prompt is our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from text2sql_gym.protocols.sql_turns import SqlTurns

_SYSTEM = """\
You answer questions over a {dialect} database with one SQL query. Explore with intermediate \
queries, learn from their results, and then give the final query.{unknown}

Instructions:
{rules}

You have {turns} turns. The last one must be the final query. Each turn is one of these two:

<think>what you know and what you want to see</think>
<intermediate_sql>SELECT ...</intermediate_sql>
{execute_sql} The answer is the columns and the first {rows} rows, or an error; you never write it \
yourself.

<think>why this is the answer</think>
<final_sql>SELECT ...</final_sql>
{submit}

Write nothing outside the tags."""


@dataclass(frozen=True)
class ReEx(SqlTurns):
    """``<think>…</think>`` then ``<intermediate_sql>…`` or ``<final_sql>…``; ``<result>`` answers.

    dialect  the SQL dialect named in the instructions; "" is that of the task's database
    schema   "full" shows the schema in the prompt, as in the paper; "unknown" leaves it out, and
             the catalogue of the engine is where to find it
    """

    system: ClassVar[str] = _SYSTEM
    tags: ClassVar[MappingProxyType[str, str]] = MappingProxyType(
        {"execute_sql": "intermediate_sql", "submit": "final_sql"}
    )

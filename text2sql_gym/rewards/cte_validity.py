"""CTE-wise validity: is every link of a chain of CTEs sound?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from text2sql_gym.rewards.statements import ran, sql_of, tree_of
from text2sql_gym.sql_text import dialect_of
from text2sql_gym.types import ToolResult, Transition

Key = tuple[str, frozenset[object]]
"""What a CTE means: its text, and the keys of the CTEs that it builds on."""


def cte_validity(transition: Transition) -> float:
    """Share of the statement's CTEs that are valid.

    A CTE is valid when it

    - ran: the statement did, or, where a submission fails, an earlier one of the episode with
      the same CTE on the same ground (so the sound links of a broken answer are paid);
    - is used by the query, or by a CTE that is;
    - reads a table, or a CTE that does, and does more than copy it (``SELECT * FROM a``);
    - does not say what another CTE of the statement says.

    A statement that repeats an earlier one, or that is no submission and adds no CTE to those
    that ran before, earns 0. So does one without CTEs.

    Range: [0, 1].

    Gamed by: CTEs of constants, copies and unused ones: they lower the share. One CTE around the
    query, or a new filter around the last CTE each turn: 1.

    Source: Reward-SQL (arXiv 2505.04671) scores each step of a chain of CTEs by a learned model
    that sees the executed prefix. Validity by execution is our reconstruction.
    """
    before: set[Key] = set()
    for turn in transition.history:
        if ran(turn.result):
            before |= _chain(sql_of(turn.call), transition.task.database).sound
    chain = _chain(sql_of(transition.call), transition.task.database)
    return len(_valid(chain.sound, before, transition.result)) / max(chain.count, 1)


def _valid(sound: frozenset[Key], before: set[Key], result: ToolResult) -> frozenset[Key]:
    if ran(result) and (result.final or not sound <= before):
        return sound
    return sound & before if result.final and result.table is None else frozenset()


@dataclass(frozen=True)
class _Chain:
    """How many CTEs a statement has, and those among them that are sound if it runs."""

    count: int = 0
    sound: frozenset[Key] = frozenset()


def _chain(sql: str, database: str) -> _Chain:
    tree = tree_of(sql, database)
    if tree is None or not tree.ctes:
        return _Chain()
    bodies = {cte.alias.lower(): cte.this for cte in tree.ctes}
    main = tree.copy()
    main.set("with_", None)
    used = _reachable(_tables(main), bodies)
    keys: dict[str, Key] = {}
    grounded: set[str] = set()
    for name, body in bodies.items():
        named = _tables(body)
        links = named & keys.keys()
        text = _text(body, name, dialect_of(database))
        keys[name] = (text, frozenset(keys[link] for link in links))
        if links & grounded or named - bodies.keys():
            grounded.add(name)
    fine = {name for name in grounded & used if not _is_copy(bodies[name], bodies)}
    return _Chain(len(tree.ctes), frozenset(keys[name] for name in fine))


def _reachable(names: set[str], bodies: Mapping[str, exp.Expr]) -> set[str]:
    """The CTEs among `names`, with all they build on."""
    found: set[str] = set()
    open_ = names & bodies.keys()
    while open_:
        found |= open_
        open_ = {name for one in open_ for name in _tables(bodies[one])} & bodies.keys() - found
    return found


def _tables(tree: exp.Expr) -> set[str]:
    """What a query reads, but for the CTEs that it defines itself."""
    own = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    return {table.name.lower() for table in tree.find_all(exp.Table)} - own


def _text(body: exp.Expr, name: str, dialect: str) -> str:
    """The CTE's text, under no name of its own: a copy under another name is the same CTE."""
    text = body.sql(dialect=dialect, normalize=True, comments=False)
    return text if name not in _tables(body) else f"{name}: {text}"


def _is_copy(body: exp.Expr, bodies: Mapping[str, exp.Expr]) -> bool:
    """Whether it is ``SELECT * FROM`` another CTE and nothing else."""
    if not isinstance(body, exp.Select):
        return False
    parts = {name for name, value in body.args.items() if value}
    source = body.args["from_"].this if "from_" in parts else None
    return (
        parts == {"expressions", "from_"}
        and len(body.expressions) == 1
        and isinstance(body.expressions[0], exp.Star)
        and isinstance(source, exp.Table)
        and source.name.lower() in bodies
    )

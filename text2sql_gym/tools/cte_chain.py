"""A chain of common table expressions, each run as a view of its own.

Source: Reward-SQL (arXiv 2505.04671), whose process reward model reads, behind every step of a
chain, the result of ``... SELECT * FROM`` that step. The limit on views is our own.
"""

from __future__ import annotations

from dataclasses import dataclass

from text2sql_gym.backends.base import Backend
from text2sql_gym.errors import ToolError
from text2sql_gym.sql_text import Token, tokens
from text2sql_gym.types import CallOutcome, Limits, View

MOST_VIEWS = 16
"""views of a chain that are run; each may cost what one statement may cost"""

_DEPTHS = {"(": 1, ")": -1}


@dataclass(frozen=True)
class Chain:
    """The views of a statement by name, as written, with the place where each definition ends.

    `rest` is what follows the last one.
    """

    sql: str
    views: tuple[tuple[str, int], ...]
    rest: str

    def query(self, place: int) -> str:
        """The statement that shows one view, with the views before it and none after it."""
        name, end = self.views[place]
        return f"{self.sql[:end]} SELECT * FROM {name}"


def read_chain(sql: str, limits: Limits) -> Chain:
    """Read ``WITH a AS (...), b AS (...) ...``, in time linear in its length.

    Raises `ToolError` (malformed) for any other text. The views themselves are not parsed.
    """
    if len(sql) > limits.sql_characters:
        raise ToolError(f"the statement has more than {limits.sql_characters} characters")
    found = list(tokens(sql))
    words = [token.text.lower() for token in found]
    recursive = words[1:2] == ["recursive"] and words[2:3] != ["as"]
    place = 2 if recursive else 1
    views: list[tuple[str, int]] = []
    while words[:1] == ["with"] and (not views or words[place - 1 : place] == [","]):
        body = _body(words, place)
        close = _closing(words, body)
        views.append((found[place].text, found[close].end))
        place = close + 2
    if not views:
        raise _no_chain()
    return Chain(sql, tuple(views), _rest(sql, found[place - 1 :]))


def last_view(sql: str) -> str:
    """The query that shows the last view of a chain; `sql` itself where it is no chain."""
    try:
        chain = read_chain(sql, Limits())
    except ToolError:
        return sql
    return chain.query(len(chain.views) - 1)


def run_views(chain: Chain, backend: Backend, limits: Limits) -> tuple[View, ...]:
    """Run the views one by one, at most `MOST_VIEWS`, and stop behind the first that fails."""
    views: list[View] = []
    for place, (name, _) in enumerate(chain.views[:MOST_VIEWS]):
        try:
            table = backend.execute(chain.query(place), max_rows=limits.tool_rows)
        except ToolError as error:
            return (*views, View(name, None, error.outcome, str(error)))
        outcome = CallOutcome.OK if table.complete else CallOutcome.TRUNCATED
        views.append(View(name, table, outcome))
    return tuple(views)


def _body(words: list[str], place: int) -> int:
    """Where the ``(`` of the definition stands whose name is at `place`."""
    after = place + 1
    if words[after : after + 1] == ["("]:
        after = _closing(words, after) + 1
    if words[after : after + 1] != ["as"]:
        raise _no_chain()
    after += 1
    after += words[after : after + 1] == ["not"]
    after += words[after : after + 1] == ["materialized"]
    if words[after : after + 1] != ["("]:
        raise _no_chain()
    return after


def _closing(words: list[str], opening: int) -> int:
    depth = 0
    for place in range(opening, len(words)):
        depth += _DEPTHS.get(words[place], 0)
        if depth == 0:
            return place
    raise _no_chain()


def _rest(sql: str, left: list[Token]) -> str:
    left = [token for token in left if token.text != ";"]
    return sql[left[0].start :] if left else ""


def _no_chain() -> ToolError:
    return ToolError(
        "expected a chain of views: WITH name AS (SELECT ...), other AS (SELECT ...)",
        CallOutcome.MALFORMED,
    )

"""What a matcher is: a rule that says how right a result is, given the gold query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from text2sql_gym.backends.base import Backend
from text2sql_gym.errors import GoldError, ToolError
from text2sql_gym.types import Limits, Table


@dataclass(frozen=True)
class Gold:
    """A gold query, its result, and whatever the matcher prepared once per database.

    `prepared` belongs to the matcher that made it (canonical rows, order keys, variants).
    `rows_elsewhere` says whether the matcher also compares on another database where the gold
    query has rows; without that, an empty result equals that of any query that finds nothing.
    """

    sql: str
    table: Table
    prepared: Any = None
    rows_elsewhere: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it has no rows wherever the matcher looks."""
        return not self.table.rows and not self.rows_elsewhere


class Matcher(Protocol):
    """Prepare a gold query once, then score any number of submissions against it.

    A matcher is a frozen dataclass: its hyperparameters are fields, so that two matchers with
    the same rule are equal and print what they are.
    """

    def prepare(self, sql: str, database: Backend, limits: Limits) -> Gold:
        """Run the gold query. Raises `GoldError` when it fails or exceeds the limits."""

    def __call__(
        self, sql: str, table: Table, gold: Gold, database: Backend, limits: Limits
    ) -> float:
        """Score a submission: `sql` and its result `table`, fetched with ``limits.compared_rows``.

        1.0 or more is a match; partial scores lie in [0, 1). Pure apart from read-only
        statements on `database`.
        """


def run_gold(sql: str, database: Backend, limits: Limits) -> Table:
    """Execute a gold query in full.

    Raises `GoldError` when the engine refuses it or its result exceeds ``limits.compared_rows``:
    a result that was cut cannot be equal to anything.
    """
    try:
        table = database.execute(sql, max_rows=limits.compared_rows)
    except ToolError as error:
        raise GoldError(f"gold query failed ({error}): {sql}") from error
    if not table.complete:
        raise GoldError(f"gold query has more than {limits.compared_rows} rows: {sql}")
    return table

"""What a matcher is: a rule that says how right a result is, given the gold query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from text2sql_gym.backends.base import Backend
from text2sql_gym.types import Limits, Table


@dataclass(frozen=True)
class Gold:
    """A gold query, its result, and whatever the matcher prepared once per database.

    `prepared` belongs to the matcher that made it (canonical rows, order keys, variants).
    """

    sql: str
    table: Table
    prepared: Any = None


class Matcher(Protocol):
    """Prepare a gold query once, then score any number of submissions against it."""

    def prepare(self, sql: str, database: Backend, limits: Limits) -> Gold:
        """Run the gold query. Raises `ToolError` when it fails or exceeds the limits."""

    def __call__(
        self, sql: str, table: Table, gold: Gold, database: Backend, limits: Limits
    ) -> float:
        """Score a submission: `sql` and its result `table`.

        1.0 or more is a match; partial scores lie in [0, 1). Pure apart from read-only
        statements on `database`.
        """

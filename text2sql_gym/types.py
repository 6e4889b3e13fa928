"""The frozen records of one episode. Every module speaks in these; none of them does any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Cell = None | int | float | str | bytes
"""One value of a result, as SQLite, DuckDB and PostgreSQL can all give it."""

Row = tuple[Cell, ...]


class CallOutcome(StrEnum):
    """What became of one tool call."""

    OK = "ok"
    SQL_ERROR = "sql_error"  # the engine refused or failed the statement
    TIMEOUT = "timeout"  # a limit on steps or wall clock stopped it
    TRUNCATED = "truncated"  # it ran, and has more rows than the call may carry
    NOT_ALLOWED = "not_allowed"  # refused by the guard: a write, PRAGMA, ATTACH, ...
    MALFORMED = "malformed"  # the action is not a call of this protocol
    DUPLICATE = "duplicate"  # it ran, and repeats an earlier call of the episode
    NO_PROPOSAL = "no_proposal"  # a query before a schema was proposed
    UNPROPOSED = "unproposed"  # a query that reads what the proposed schema does not have
    OUT_OF_PHASE = "out_of_phase"  # any other call that its phase does not allow


EXECUTED = frozenset((CallOutcome.OK, CallOutcome.TRUNCATED, CallOutcome.DUPLICATE))
"""Outcomes of calls that could be executed, now or when they were made before."""

VIOLATIONS = frozenset((CallOutcome.NO_PROPOSAL, CallOutcome.UNPROPOSED, CallOutcome.OUT_OF_PHASE))
"""Outcomes of calls that break the order of a protocol with phases; see `trust_sql`."""


class EpisodeOutcome(StrEnum):
    """What became of the episode; `NO_SUBMISSION` until an answer is submitted."""

    MATCH = "match"
    MISMATCH = "mismatch"
    PREDICTED_ERROR = "predicted_error"
    GOLD_ERROR = "gold_error"  # a gold query fails: nothing can be judged, see `gold_errors`
    NO_GOLD = "no_gold"  # submitted, and the task has no gold query to judge it by
    NO_SUBMISSION = "no_submission"


@dataclass(frozen=True)
class Task:
    """One question over one database.

    `database` is a URL (``sqlite:///folder/shop.sqlite``) or a path to an SQLite file.
    `gold_sql` holds every accepted query; empty means inference on a question without gold.
    `empty_proves_nothing` flags a task whose empty gold result any other query might have: an empty
    answer is then right only if the matcher has also compared it on a database where the gold
    query has rows.
    """

    task_id: str
    database: str
    question: str
    gold_sql: tuple[str, ...] = ()
    evidence: str = ""
    difficulty: str = ""
    source: str = ""
    database_id: str = ""
    empty_proves_nothing: bool = False


@dataclass(frozen=True)
class Column:
    """One column of a table as the schema declares it."""

    name: str
    type: str = ""
    primary_key: bool = False
    description: str = ""


@dataclass(frozen=True)
class ForeignKey:
    """``column`` of this table refers to ``target_table.target_column``."""

    column: str
    target_table: str
    target_column: str


@dataclass(frozen=True)
class TableSchema:
    """One table or view: columns in declared order, foreign keys in declared order."""

    name: str
    columns: tuple[Column, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()


Schema = tuple[TableSchema, ...]


@dataclass(frozen=True)
class Table:
    """The result of a statement: what is compared and credited, not what is shown.

    `complete` is False when the statement had more rows than were asked for.
    `reads` holds the (table, column) pairs the engine read, in the schema's spelling; a table
    whose rows are counted without reading a column appears as ``(table, "")``.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    complete: bool = True
    reads: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class ToolCall:
    """One parsed action: which tool, with which arguments.

    `phase` is what a protocol with phases calls the action (``"generate_sql"``), else "".
    """

    tool: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    phase: str = ""


@dataclass(frozen=True)
class View:
    """One common table expression of a chain, run on its own with those before it.

    `table` is None when it failed; then `outcome` and `error` say how.
    """

    name: str
    table: Table | None = None
    outcome: CallOutcome = CallOutcome.OK
    error: str | None = None


@dataclass(frozen=True)
class ToolResult:
    """What a tool answered. `text` is what the policy reads; `table` is what is credited.

    `views` holds the common table expressions that were run one by one, up to the first that
    failed; only the tools of the protocol `cocte` do so.
    """

    text: str
    outcome: CallOutcome = CallOutcome.OK
    table: Table | None = None
    error: str | None = None
    final: bool = False
    views: tuple[View, ...] = ()


@dataclass(frozen=True)
class Turn:
    """One call with its result; `call` is None when the action could not be parsed."""

    call: ToolCall | None
    result: ToolResult


@dataclass(frozen=True)
class Transition:
    """All that a reward may look at: this turn, the turns before it, the task and its gold result.

    `gold` holds the result of each gold query, in the order of ``task.gold_sql``; it is empty
    for a task without gold. `outcome` is the matcher's verdict on a final turn, `schema` the one
    of the database. `last` says that no turn is left after this one.
    """

    task: Task
    gold: tuple[Table, ...]
    call: ToolCall | None
    result: ToolResult
    history: tuple[Turn, ...] = ()
    outcome: EpisodeOutcome = EpisodeOutcome.NO_SUBMISSION
    schema: Schema = ()
    last: bool = False


@dataclass(frozen=True)
class Limits:
    """What one statement may cost and how much of its result is kept or shown.

    The number of virtual-machine steps is the primary limit, because it is repeatable; the wall
    clock is the back-stop. What is shown never limits what is compared.
    """

    vm_steps: int = 200_000_000
    """steps of SQLite's virtual machine per statement; more is `CallOutcome.TIMEOUT`"""
    seconds: float = 5.0
    """wall clock per statement; the worker is killed soon after"""
    memory_mb: int = 256
    """heap of the engine per worker"""
    compared_rows: int = 100_000
    """rows kept of a gold result or a submission; a larger result cannot match"""
    tool_rows: int = 1_000
    """rows kept of an exploratory result, for process rewards"""
    shown_rows: int = 10
    """rows shown to the policy"""
    shown_cell_characters: int = 80
    """characters shown of one cell"""
    shown_characters: int = 4_000
    """characters shown of one whole result"""
    sql_characters: int = 20_000
    """length of a statement"""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"limits: {name} must be positive, got {value!r}")

"""One guarded SQLite connection: read-only, SELECT only, limited. Standard library only.

The same guard runs in the trainer's process and in the worker processes; a `Tier` says what
differs. Worker processes import this module without the rest of the package.
"""

from __future__ import annotations

import re
import sqlite3
from time import perf_counter
from typing import NamedTuple, NoReturn

from text2sql_gym.backends.answers import (
    CHUNK_CELLS,
    Answer,
    Reads,
    Refused,
    Row,
    countable,
    fetch,
)
from text2sql_gym.backends.sqlite_clock import (
    TIME_ARGUMENTS,
    cells_with_words,
    may_read_clock,
    stop_all,
    stop_defaults,
)
from text2sql_gym.backends.sqlite_connect import (
    connect,
    modules,
    run_if_known,
    set_limits,
    table_names,
)

TICK = 1000
"""Virtual-machine steps between two looks at the limits; steps are counted in this unit."""

SELECT_ONLY = "only SELECT is allowed (no writes, PRAGMA, ATTACH, EXPLAIN or transactions)"

_ESCALATED = frozenset(
    # one call of these may take seconds or much memory whatever the length limit, and cannot be
    # interrupted: left to a process that can be killed
    "printf format trim ltrim rtrim json_group_array json_group_object jsonb_group_array"
    " jsonb_group_object".split()
)

_ALLOWED = _ESCALATED | frozenset(
    "-> ->> abs acos acosh asin asinh atan atan2 atanh avg bm25 ceil ceiling char coalesce concat"
    " concat_ws cos cosh count cume_dist current_date current_time current_timestamp date datetime"
    " degrees dense_rank exp first_value floor glob group_concat hex highlight if ifnull iif instr"
    " json json_array json_array_insert json_array_length json_error_position json_extract"
    " json_insert json_object json_patch json_pretty json_quote json_remove json_replace json_set"
    " json_type json_valid jsonb jsonb_array jsonb_array_insert jsonb_extract jsonb_insert"
    " jsonb_object jsonb_patch jsonb_remove jsonb_replace jsonb_set julianday lag last_value lead"
    " length like likelihood likely ln log log10 log2 lower match max median min mod nth_value"
    " ntile nullif octet_length percent_rank percentile percentile_cont percentile_disc pi pow"
    " power quote radians rank replace round row_number sign sin sinh snippet soundex sqrt"
    " strftime string_agg substr substring sum tan tanh time timediff total trunc typeof unhex"
    " unicode unistr unistr_quote unixepoch unlikely upper zeroblob".split()
)

_READABLE = frozenset(("sqlite_master", "sqlite_schema", "json_each", "json_tree"))

_BROKEN_FILE = frozenset(
    (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)
)

_NO_FILE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)  # a temporary file cannot be written

_BLANK = r"(?:[\s;\ufeff]|--[^\n]*(?:\n|$)|/\*(?:[^*]|\*(?!/))*(?:\*/|$))*"
_NOTHING = re.compile(_BLANK)
_EXPLAIN = re.compile(_BLANK + r"explain\b", re.IGNORECASE)


class Escalate(Exception):
    """The statement must run in the next tier; nothing is said about it otherwise."""


class Tier(NamedTuple):
    """What a guarded connection grants before it refuses, or passes the statement on."""

    length: int
    """bytes of one value, and so of one call's work"""
    pattern: int
    """bytes of a LIKE or GLOB pattern"""
    temp_store: int
    """0: sorting is faster, but large temporary structures go to an unnamed file; 2: memory only"""
    cache_mb: int
    """pages kept per file, and about what is sorted before it goes to a file"""
    functions: frozenset[str]
    """functions allowed here"""
    first_cells: int
    """cells fetched before results are weighed for the first time"""
    killable: bool
    """whether the process may be killed: if not, long work is passed on"""
    stopped_clock: bool
    """whether 'now' is fixed at a cost per call: if not, such a statement is passed on"""


LIGHT = Tier(4_000, 100, 0, 2, _ALLOWED - _ESCALATED, CHUNK_CELLS, False, False)
"""In the trainer's process: short, light statements, whose first rows cannot weigh much."""

PLAIN = Tier(1_000_000, 1_000, 0, 4, _ALLOWED, 64, True, False)
"""In a worker process, which may not write: everything that needs neither 'now' nor a file."""

CLOCK = Tier(1_000_000, 1_000, 2, 2, _ALLOWED, 64, True, True)
"""In a worker process, in memory: everything, date functions take 'now' for a constant."""


class GuardedConnection:
    """A connection that can only read, within limits. One statement at a time.

    Raises `sqlite3.Error` when the file cannot be opened or is not a database.
    """

    def __init__(self, path: str, tier: Tier) -> None:
        self._tier = tier
        self._connection = connect(path)
        names = table_names(self._connection)
        self._tables = {name.lower(): name for name, *_ in names} | {n: n for n, *_ in names}
        self._views = tuple(name.lower() for name, kind, _ in names if kind == "view")
        self._clock_in_views = any(may_read_clock(sql) for _, kind, sql in names if kind == "view")
        self._holds_words: dict[tuple[str, str], bool] = {}
        self._modules = modules(self._connection)
        self._sql = ""
        self._ticks = 0
        self._deadline = 0.0
        self._reads: set[tuple[str, str]] = set()
        self._reads_whole = False
        self._denied = ""
        self._stopped = ""
        self._escalate = False
        self._dated = False
        self._protect()

    def run(self, sql: str, max_rows: int, *, vm_steps: int, seconds: float) -> Answer:
        """Run one SELECT. Raises `Refused`, or `Escalate` where the tier passes things on."""
        self._check_text(sql)
        self._sql, self._reads = sql, set()
        self._denied = self._stopped = ""
        self._escalate = self._reads_whole = self._dated = False
        self._ticks, self._deadline = -(-vm_steps // TICK), perf_counter() + seconds
        try:
            return self._fetch(sql, max_rows)
        except (sqlite3.Error, MemoryError, UnicodeError) as error:
            if "decode" in str(error) and not self._stopped:
                return self._run_lenient(sql, max_rows)
            self._explain(error)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _check_text(self, sql: str) -> None:
        if "\0" in sql:
            raise Refused("sql_error", "the statement contains a NUL character")
        lower = sql.lower()
        if "explain" in lower and _EXPLAIN.match(sql):
            raise Refused("not_allowed", SELECT_ONLY)
        if not self._tier.killable and (
            # WITH and views can make a short text expand without bound before it even starts
            "with" in lower
            or len(sql) > 2_000
            or self._names_view(lower)
        ):
            raise Escalate

    def _names_view(self, lower: str) -> bool:
        return bool(self._views) and any(view in lower for view in self._views)

    def _fetch(self, sql: str, max_rows: int) -> Answer:
        cursor = self._connection.execute(sql)
        try:
            if cursor.description is None:
                raise _no_result(sql)
            columns = tuple([column[0] for column in cursor.description])
            rows, complete = self._rows(cursor, max_rows, len(columns))
        finally:
            cursor.close()
        reads = self._reads_of_statement()
        if self._dated and any(self._has_word(*pair) for pair in reads if pair[1]):
            raise Escalate
        return columns, rows, complete, reads

    def _has_word(self, table: str, column: str) -> bool:
        """Say whether a cell of the column may make a date function read the clock.

        True where that is not found out within what is left to the statement.
        """
        if (table, column) not in self._holds_words and table.lower() not in self._views:
            try:
                found = self._connection.execute(cells_with_words(table, column)).fetchone()
            except (sqlite3.DataError, sqlite3.OperationalError) as error:
                if self._stopped or isinstance(error, sqlite3.DataError):  # a cell is too long
                    return True
                raise
            self._holds_words[table, column] = found is not None
        return self._holds_words.get((table, column), False)

    def _rows(self, cursor: sqlite3.Cursor, max_rows: int, width: int) -> tuple[list[Row], bool]:
        """Fetch what may be given out; a light tier passes a result on that weighs more."""
        tier = self._tier
        rows, complete = fetch(
            cursor.fetchmany,
            width,
            max_rows,
            first_cells=tier.first_cells,
            weigh_first=tier.killable,
        )
        if not complete and len(rows) < countable(width, max_rows) and not tier.killable:
            raise Escalate
        return rows, complete

    def _run_lenient(self, sql: str, max_rows: int) -> Answer:
        """Run again with text that is not UTF-8 decoded leniently: exact text is faster."""
        self._connection.text_factory = lambda raw: raw.decode(errors="replace")
        try:
            return self._fetch(sql, max_rows)
        except (sqlite3.Error, MemoryError, UnicodeError) as error:
            self._explain(error)
        finally:
            self._connection.text_factory = str

    def _reads_of_statement(self) -> Reads:
        """Return what was read, without ``(table, "")`` for tables with a column in the list."""
        if not self._reads_whole:
            return frozenset(self._reads)
        named = {table for table, column in self._reads if column}
        return frozenset(pair for pair in self._reads if pair[1] or pair[0] not in named)

    def _explain(self, error: Exception) -> NoReturn:
        """Turn an exception of the engine into the one our caller knows."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        message = str(error)[:300]
        spilled = code in _NO_FILE and not self._tier.temp_store
        heavy = code == sqlite3.SQLITE_TOOBIG or self._stopped or isinstance(error, MemoryError)
        heavy = heavy or "too complex" in message
        if self._escalate or spilled or (heavy and not self._tier.killable):
            raise Escalate from error
        if self._stopped:
            raise Refused(
                "timeout", f"stopped: {self._stopped}", repeatable="steps" in self._stopped
            ) from error
        if self._denied:
            raise Refused("not_allowed", self._denied) from error
        if isinstance(error, MemoryError):
            raise Refused("sql_error", "out of memory", repeatable=False) from error
        if code in _BROKEN_FILE:
            raise Refused("fault", message, repeatable=False) from error
        if code in (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_AUTH):
            # sqlite3 swallows what a signal handler raises inside a callback; do not lose Ctrl-C
            raise KeyboardInterrupt("a signal arrived while SQLite ran") from error
        raise _refusal_of_module(error, message) from error

    def _protect(self) -> None:
        """Set all limits, then the authorizer: before that, the guard's own set-up runs freely."""
        connection, tier = self._connection, self._tier
        connection.execute(f"PRAGMA temp_store={tier.temp_store}")
        connection.execute(f"PRAGMA cache_size={-1_000 * tier.cache_mb}")
        connection.execute("PRAGMA query_only=1")
        # a view may call replaced functions only where the schema is trusted; the authorizer stays
        connection.execute(f"PRAGMA trusted_schema={int(tier.killable)}")
        (stop_all if tier.stopped_clock else stop_defaults)(connection)
        for table in ("json_each", "json_tree"):
            # their first use registers them, which the authorizer would take for a write
            run_if_known(connection, f"SELECT 1 FROM {table}('[]')")
        set_limits(connection, length=tier.length, pattern=tier.pattern)
        connection.set_progress_handler(self._tick, TICK)
        connection.set_authorizer(self._authorize)

    def _tick(self) -> bool:
        self._ticks -= 1
        if self._ticks < 0:
            self._stopped = "the statement needs too many steps"
        elif perf_counter() > self._deadline:
            self._stopped = "the statement ran too long"
        return bool(self._stopped)

    def _authorize(
        self, action: int, first: str | None, second: str | None, _: str | None, __: str | None
    ) -> int:
        if action == sqlite3.SQLITE_READ:
            return self._authorize_read(first or "", second or "")
        if action == sqlite3.SQLITE_FUNCTION:
            return self._authorize_function(second or "")
        if action == sqlite3.SQLITE_SELECT:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_RECURSIVE:
            self._escalate = not self._tier.killable
            return sqlite3.SQLITE_DENY if self._escalate else sqlite3.SQLITE_OK
        return self._deny(SELECT_ONLY)

    def _authorize_read(self, table: str, column: str) -> int:
        """Allow the tables of this database, a few system tables, and names of subqueries."""
        known = self._tables.get(table) or self._tables.get(table.lower())
        if known is not None:
            self._reads.add((known, column))
            self._reads_whole = self._reads_whole or not column
            return sqlite3.SQLITE_OK
        lower = table.lower()
        if lower in _READABLE:
            return sqlite3.SQLITE_OK
        # a subquery or CTE whose columns are not read appears as a table without columns
        if not column and not lower.startswith(("sqlite_", "pragma_")):
            if lower not in self._modules:
                return sqlite3.SQLITE_OK
        return self._deny(f"table {table} may not be read")

    def _authorize_function(self, name: str) -> int:
        if name not in self._tier.functions:
            if name in _ALLOWED:
                self._escalate = True
                return sqlite3.SQLITE_DENY
            return self._deny(f"function {name}() is not allowed")
        if name in TIME_ARGUMENTS and not self._tier.stopped_clock:
            self._dated = True
            in_view = self._clock_in_views and self._names_view(self._sql.lower())
            self._escalate = in_view or may_read_clock(self._sql)
        return sqlite3.SQLITE_DENY if self._escalate else sqlite3.SQLITE_OK

    def _deny(self, message: str) -> int:
        self._denied = self._denied or message
        return sqlite3.SQLITE_DENY


def _no_result(sql: str) -> Refused:
    """Say why a text that SQLite accepts has no columns; some commands find nothing to do."""
    if _NOTHING.fullmatch(sql):
        return Refused("sql_error", "no statement: the text is empty or only a comment")
    return Refused("not_allowed", SELECT_ONLY)


def _refusal_of_module(error: Exception, message: str) -> Refused:
    """Say in plain words what Python's sqlite3 module, rather than SQLite, objects to."""
    if isinstance(error, UnicodeError):
        return Refused("sql_error", "the statement is not valid Unicode text")
    if "one statement at a time" in message:
        return Refused("not_allowed", "more than one statement in one call")
    if isinstance(error, sqlite3.ProgrammingError) and "bindings" in message:
        return Refused("sql_error", "parameters such as ? or :name have no value here")
    return Refused("sql_error", message)

"""PostgreSQL from inside a worker process: the server does the work, this process the waiting.

A statement that the server cannot interrupt goes on there when this process is killed; the
server notices the lost client at its next interrupt check.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import errors

from text2sql_gym.backends.answers import Answer, Refused, fetch
from text2sql_gym.backends.sql_check import checked
from text2sql_gym.backends.sql_reads import Tables, reads
from text2sql_gym.backends.sql_rows import plain_rows

_START = (
    "BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}; SET LOCAL timezone = 'UTC';"
    " SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL lock_timeout = {milliseconds};"
    " SET LOCAL extra_float_digits = 1"
)
_TABLES = """
SELECT c.oid, c.relname FROM pg_class c
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_table_is_visible(c.oid)
  AND c.relnamespace = ANY (current_schemas(false)::regnamespace[])
ORDER BY c.oid
"""
_COLUMNS = """
SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod),
       EXISTS (SELECT FROM pg_constraint k
               WHERE k.conrelid = a.attrelid AND k.contype = 'p' AND a.attnum = ANY (k.conkey)),
       coalesce(col_description(a.attrelid, a.attnum), '')
FROM pg_attribute a WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = ANY (%s)
ORDER BY a.attrelid, a.attnum
"""
_LINKS = """
SELECT k.conrelid, a.attname, k.confrelid::regclass::text, b.attname
FROM pg_constraint k
CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS pair (own, target, place)
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = pair.own
JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = pair.target
WHERE k.contype = 'f' AND k.conrelid = ANY (%s)
ORDER BY k.oid, pair.place
"""


class PostgresqlEngine:
    """One connection per database, opened when needed and again when it was lost."""

    def __init__(self, memory_mb: int) -> None:
        # the memory of a statement is the server's to bound: work_mem, temp_file_limit
        self._open: dict[str, psycopg.Connection[Any]] = {}
        self._tables: dict[str, Tables] = {}

    def schema(self, url: str) -> list[Any]:
        """Return (name, columns, foreign keys) of each table; see `TableSchema`."""
        connection = self._connection(url)
        tables = connection.execute(_TABLES).fetchall()
        numbers = ([number for number, _ in tables],)
        columns = connection.execute(_COLUMNS, numbers).fetchall()
        links = connection.execute(_LINKS, numbers).fetchall()
        return [
            (
                name,
                [tuple(column) for owner, *column in columns if owner == number],
                [tuple(link) for owner, *link in links if owner == number],
            )
            for number, name in tables
        ]

    def run(self, url: str, sql: str, max_rows: int, seconds: float) -> Answer:
        """Run one statement in a transaction of its own, which is read-only and rolled back."""
        tree = checked(sql, "postgres")
        connection = self._connection(url)
        try:
            connection.execute(_START.format(milliseconds=max(1, int(seconds * 1_000))).encode())
            with connection.cursor(name="answer") as cursor:
                cursor.execute(sql.encode())
                columns = tuple(column.name for column in cursor.description or ())
                rows, complete = fetch(
                    lambda count: plain_rows(cursor.fetchmany(count)), len(columns), max_rows
                )
            connection.execute("ROLLBACK")
        except psycopg.Error as error:
            raise self._refusal(error, url) from error
        return columns, rows, complete, reads(tree, self._known(url), "postgres")

    def _connection(self, url: str) -> psycopg.Connection[Any]:
        if url not in self._open:
            try:
                self._open[url] = psycopg.connect(url, autocommit=True, connect_timeout=10)
            except psycopg.Error as error:
                raise Refused("fault", f"cannot connect: {error}", repeatable=False) from error
        return self._open[url]

    def _known(self, url: str) -> Tables:
        if url not in self._tables:
            self._tables[url] = {
                table: {column: kind for column, kind, _, _ in columns}
                for table, columns, _ in self.schema(url)
            }
        return self._tables[url]

    def _refusal(self, error: psycopg.Error, url: str) -> Refused:
        connection = self._open[url]
        if not connection.closed:
            connection.execute("ROLLBACK")
        message = (error.diag.message_primary or str(error)).splitlines()[0][:300]
        if isinstance(error, errors.QueryCanceled | errors.LockNotAvailable):
            return Refused("timeout", "stopped: the statement ran too long", repeatable=False)
        if isinstance(error, errors.ReadOnlySqlTransaction | errors.InsufficientPrivilege):
            return Refused("not_allowed", message)
        if connection.closed:
            del self._open[url]
            return Refused("fault", f"the connection was lost: {message}", repeatable=False)
        return Refused("sql_error", message)

"""DuckDB inside a worker process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import duckdb

from text2sql_gym.backends.answers import Answer, Refused, fetch
from text2sql_gym.backends.sql_check import SELECT_ONLY, checked
from text2sql_gym.backends.sql_reads import Tables, reads
from text2sql_gym.backends.sql_rows import plain_rows

_OPEN_DATABASES = 4
_LOCKED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "threads": "1",
    "lock_configuration": "true",
}
"""No files, no extensions, no variables of this process, one thread, nothing of it changeable."""

_TABLES = """
SELECT table_name, table_oid AS place FROM duckdb_tables() WHERE schema_name = 'main'
UNION ALL
SELECT view_name, view_oid FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal
ORDER BY place
"""
_COLUMNS = """
SELECT table_name, column_name, data_type, coalesce(comment, '')
FROM duckdb_columns() WHERE schema_name = 'main' AND NOT internal
ORDER BY table_oid, column_index
"""
_KEYS = """
SELECT table_name, constraint_type, constraint_column_names, referenced_table,
       referenced_column_names
FROM duckdb_constraints()
WHERE schema_name = 'main' AND constraint_type IN ('PRIMARY KEY', 'FOREIGN KEY')
ORDER BY table_oid, constraint_index
"""


class DuckdbEngine:
    """Read-only connections of this process, the least recently used closed first."""

    def __init__(self, memory_mb: int) -> None:
        self._memory_mb = memory_mb
        self._open: OrderedDict[tuple[str, str], duckdb.DuckDBPyConnection] = OrderedDict()
        self._tables: dict[tuple[str, str], Tables] = {}

    def schema(self, path: str, version: str) -> list[Any]:
        """Return (name, columns, foreign keys) of each table; see `TableSchema`."""
        connection = self._connection(path, version)
        tables = [name for name, _ in connection.execute(_TABLES).fetchall()]
        columns = connection.execute(_COLUMNS).fetchall()
        keys = connection.execute(_KEYS).fetchall()
        return [(table, _columns(table, columns, keys), _links(table, keys)) for table in tables]

    def run(self, path: str, version: str, sql: str, max_rows: int, seconds: float) -> Answer:
        """Run one statement on the file that had this version when it was opened."""
        tree = checked(sql, "duckdb")
        connection = self._connection(path, version)
        clock = threading.Timer(seconds, connection.interrupt)
        clock.start()
        try:
            _check_kind(connection, sql)
            cursor = connection.execute(sql)
            columns = tuple(column[0] for column in cursor.description or ())
            rows, complete = fetch(
                lambda count: plain_rows(cursor.fetchmany(count)), len(columns), max_rows
            )
        except duckdb.Error as error:
            raise self._refusal(error, path, version) from error
        finally:
            clock.cancel()
        return columns, rows, complete, reads(tree, self._known(path, version), "duckdb")

    def _connection(self, path: str, version: str) -> duckdb.DuckDBPyConnection:
        key = (path, version)
        if key not in self._open:
            config: dict[str, Any] = _LOCKED | {"memory_limit": f"{self._memory_mb}MB"}
            try:
                self._open[key] = duckdb.connect(path, read_only=True, config=config)
            except duckdb.Error as error:
                message = f"not a readable DuckDB database: {error}"
                raise Refused("fault", message, repeatable=False) from error
        self._open.move_to_end(key)
        if len(self._open) > _OPEN_DATABASES:
            self._open.popitem(last=False)[1].close()
        return self._open[key]

    def _known(self, path: str, version: str) -> Tables:
        key = (path, version)
        if key not in self._tables:
            self._tables[key] = {
                table: {column: kind for column, kind, _, _ in columns}
                for table, columns, _ in self.schema(path, version)
            }
        return self._tables[key]

    def _refusal(self, error: duckdb.Error, path: str, version: str) -> Refused:
        message = str(error).splitlines()[0][:300]
        if isinstance(error, duckdb.InterruptException):
            return Refused("timeout", "stopped: the statement ran too long", repeatable=False)
        if isinstance(error, duckdb.PermissionException):
            return Refused("not_allowed", "files may not be read")
        if isinstance(error, duckdb.OutOfMemoryException):
            return Refused("sql_error", "out of memory", repeatable=False)
        if isinstance(error, duckdb.IOException):
            return Refused("sql_error", "a file cannot be read or written")  # the text has a path
        if isinstance(error, duckdb.FatalException | duckdb.InternalException):
            self._open.pop((path, version)).close()  # DuckDB refuses all later statements
        return Refused("sql_error", message)


def _check_kind(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Ask DuckDB's own parser too: it knows forms that another one may take for a query."""
    statements = connection.extract_statements(sql)
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise Refused("not_allowed", SELECT_ONLY)


def _columns(table: str, columns: list[Any], keys: list[Any]) -> list[tuple[str, str, bool, str]]:
    primary = {
        name for owner, kind, names, *_ in keys if (owner, kind) == (table, "PRIMARY KEY")
        for name in names
    }
    return [
        (name, kind, name in primary, comment)
        for owner, name, kind, comment in columns
        if owner == table
    ]


def _links(table: str, keys: list[Any]) -> list[tuple[str, str, str]]:
    return [
        (column, target, target_column)
        for owner, kind, names, target, target_names in keys
        if (owner, kind) == (table, "FOREIGN KEY")
        for column, target_column in zip(names, target_names, strict=True)
    ]

"""DuckDB files behind a guard. Needs the extra ``duckdb``."""

from __future__ import annotations

import os
from pathlib import Path

from text2sql_gym.backends.remote import RemoteBackend, require
from text2sql_gym.errors import EnvironmentFault
from text2sql_gym.types import Limits


def open_duckdb(url: str, limits: Limits) -> RemoteBackend:
    """Open ``duckdb:///relative/path`` or ``duckdb:////absolute/path``.

    Statements are checked by their parse tree and by DuckDB's own parser, and run on a read-only
    connection without access to files, extensions or settings, in a process that can be killed.
    What differs from call to call (``now()``, ``random()``, ...) is refused. Not covered:
    `Limits.vm_steps`, which DuckDB does not count.
    """
    require("duckdb", "duckdb")
    path = os.path.realpath(url.removeprefix("duckdb://").removeprefix("/"))
    if not Path(path).is_file():
        raise EnvironmentFault(f"no DuckDB database at {path}: expected a file there")
    status = os.stat(path)
    version = f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
    return RemoteBackend("duckdb", f"duckdb:///{path}", (path, version), limits)

"""PostgreSQL databases behind a guard. Needs the extra ``postgres``."""

from __future__ import annotations

from text2sql_gym.backends.remote import RemoteBackend, require
from text2sql_gym.types import Limits


def open_postgresql(url: str, limits: Limits) -> RemoteBackend:
    """Open ``postgresql://user@host:port/database``, as libpq understands it.

    Statements are checked by their parse tree, and run through a cursor in a read-only
    transaction with a time limit, which is always rolled back. What differs from call to call
    (``now()``, ``random()``, ...) is refused.

    Give the URL a role that owns nothing and may only read: the check is no substitute. Not
    covered: `Limits.vm_steps` and `Limits.memory_mb` (set ``work_mem`` and ``temp_file_limit``
    for the role), and work that the server cannot interrupt: the answer comes in time, but the
    server goes on for a while.
    """
    require("psycopg", "postgres")
    return RemoteBackend("postgresql", url, (url,), limits)

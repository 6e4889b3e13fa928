"""What a worker process does: run statements for its parent. The engine is loaded by name.

Requests and replies are `marshal` values behind their length. Where one long call of an engine
hears nothing from inside, an alarm ends the process from outside, even if the parent is gone.
"""

from __future__ import annotations

import marshal
import signal
import socket
import struct
from importlib import import_module
from typing import Any

from text2sql_gym.backends.answers import Refused

ENGINES = {
    "duckdb": ("text2sql_gym.backends.duckdb_engine", "DuckdbEngine"),
    "postgresql": ("text2sql_gym.backends.postgresql_engine", "PostgresqlEngine"),
    "sqlite": ("text2sql_gym.backends.sqlite_engine", "SqliteEngine"),
}
"""Module and class of each engine. It is made with its memory limit in megabytes."""

_HEADER = struct.Struct("<I")
_ALARM_GRACE = 0.5
_PYTHON_MB = {"duckdb": 2_048, "postgresql": 1_024, "sqlite": 768}
"""Address space of a worker besides the memory its engine may use."""


def serve(parent: socket.socket, engine_name: str, memory_mb: int) -> None:
    """Confine this process, then answer the parent until it hangs up."""
    _confine(memory_mb + _PYTHON_MB[engine_name])
    module, name = ENGINES[engine_name]
    engine = getattr(import_module(module), name)(memory_mb)
    send(parent, b"ready")
    while (request := receive(parent)) is not None:
        send(parent, _answer(engine, *marshal.loads(request)))


def _answer(engine: Any, operation: str, seconds: float, arguments: tuple[Any, ...]) -> bytes:
    """Call a method of the engine; reply ("ok", its value) or (kind, message, repeatable)."""
    signal.setitimer(signal.ITIMER_REAL, seconds + _ALARM_GRACE)
    try:
        return marshal.dumps(("ok", getattr(engine, operation)(*arguments)))
    except Refused as refusal:
        return marshal.dumps((refusal.kind, refusal.message, refusal.repeatable))
    except MemoryError:
        return marshal.dumps(("sql_error", "out of memory", False))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def send(peer: socket.socket, message: bytes | bytearray) -> None:
    """Write one message."""
    peer.sendall(_HEADER.pack(len(message)) + message)


def receive(peer: socket.socket, rest_seconds: float | None = None) -> memoryview | None:
    """Read one message; None when the other side has closed.

    The first part may take as long as the socket's time-out says, the rest `rest_seconds` more.
    """
    first = peer.recv(65536)
    if not first:
        return None
    (size,) = _HEADER.unpack_from(first)  # both sides send header and message as one
    if len(first) == _HEADER.size + size:
        return memoryview(first)[_HEADER.size :]
    return _receive_rest(peer, first, size, rest_seconds)


def _receive_rest(
    peer: socket.socket, first: bytes, size: int, rest_seconds: float | None
) -> memoryview | None:
    peer.settimeout(rest_seconds)
    message = memoryview(bytearray(_HEADER.size + size))
    filled = len(first)
    message[:filled] = first
    while filled < len(message):
        count = peer.recv_into(message[filled:])
        if count == 0:
            return None
        filled += count
    return message[_HEADER.size :]


def _confine(address_space_mb: int) -> None:
    """Bound this process: memory, core dumps, files written. What a system lacks is skipped."""
    import resource

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for limit, value in (
        (resource.RLIMIT_AS, address_space_mb << 20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        try:
            resource.setrlimit(limit, (value, value))
        except (ValueError, OSError):  # macOS refuses RLIMIT_AS
            continue

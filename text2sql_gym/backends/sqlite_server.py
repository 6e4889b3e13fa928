"""What a worker process does: run guarded statements for its parent. Standard library only.

Requests and replies are `marshal` values behind their length. Where one long call of SQLite hears
nothing from inside, an alarm ends the process from outside, even if the parent is gone.
"""

from __future__ import annotations

import marshal
import signal
import socket
import sqlite3
import struct
from collections import OrderedDict

from text2sql_gym.backends.sqlite_guard import (
    CLOCK,
    PLAIN,
    Answer,
    Escalate,
    GuardedConnection,
    Refused,
    Tier,
)

_HEADER = struct.Struct("<I")
_OPEN_DATABASES = 32
_ALARM_GRACE = 0.5
_PYTHON_MB = 768

_Request = tuple[str, str, str, int, int, float]


def serve(parent: socket.socket, memory_mb: int) -> None:
    """Confine this process, then answer the parent until it hangs up."""
    _confine(memory_mb)
    server = _Server()
    send(parent, b"ready")
    while (request := receive(parent)) is not None:
        send(parent, server.answer(marshal.loads(request)))


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


class _Server:
    """Guarded connections of this process, the least recently used closed first."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str, bool], GuardedConnection] = OrderedDict()

    def answer(self, request: _Request) -> bytes:
        """Run one statement; reply ``("ok", *answer)`` or ``(kind, message, repeatable)``."""
        signal.setitimer(signal.ITIMER_REAL, request[-1] + _ALARM_GRACE)
        try:
            return marshal.dumps(("ok", *self._run(*request)))
        except Refused as refusal:
            return marshal.dumps((refusal.kind, refusal.message, refusal.repeatable))
        except MemoryError:
            return marshal.dumps(("sql_error", "out of memory", False))
        except sqlite3.Error as error:  # the file cannot be opened any more
            return marshal.dumps(("fault", str(error), False))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _run(
        self, path: str, version: str, sql: str, max_rows: int, vm_steps: int, seconds: float
    ) -> Answer:
        try:
            plain = self._connection(path, version, PLAIN)
            return plain.run(sql, max_rows, vm_steps=vm_steps, seconds=seconds)
        except Escalate:
            clock = self._connection(path, version, CLOCK)
            return clock.run(sql, max_rows, vm_steps=vm_steps, seconds=seconds)

    def _connection(self, path: str, version: str, tier: Tier) -> GuardedConnection:
        key = (path, version, tier.stopped_clock)
        if key not in self._open:
            self._open[key] = GuardedConnection(path, tier)
        self._open.move_to_end(key)
        if len(self._open) > _OPEN_DATABASES:
            self._open.popitem(last=False)[1].close()
        return self._open[key]


def _confine(memory_mb: int) -> None:
    """Bound this process: memory, core dumps, files written. What a system lacks is skipped."""
    import resource

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    address_space = (memory_mb + _PYTHON_MB) << 20
    for limit, value in (
        (resource.RLIMIT_AS, address_space),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        try:
            resource.setrlimit(limit, (value, value))
        except (ValueError, OSError):  # macOS refuses RLIMIT_AS
            continue
    with sqlite3.connect(":memory:") as connection:
        # holds for every connection of this process, and cannot be raised again
        connection.execute(f"PRAGMA hard_heap_limit={memory_mb << 20}")

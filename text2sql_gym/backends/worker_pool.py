"""Worker processes shared by every backend of this process.

There is one pool per engine and memory limit. It starts workers when they are needed, never more
than `pool_size()` at work at a time, and keeps one spare ready, so that killing a worker costs
the next statement nothing. Backends count themselves in and out of a pool; the last one out
closes it.
"""

from __future__ import annotations

import marshal
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from text2sql_gym.backends.worker_server import receive, send
from text2sql_gym.errors import EnvironmentFault

T = TypeVar("T")

_KILL_GRACE = 0.008
"""Seconds after the limit in which an SQLite worker may still answer by itself."""

_SLOW_KILL_GRACE = 0.3
"""The same for engines that notice a limit late and whose workers start slowly."""

_START_SECONDS = 30.0
_START_ATTEMPTS = 3

_TRANSFER_SECONDS = 0.8
"""Seconds without progress after which an answer that has begun to arrive is given up."""


def pool_size() -> int:
    """Return how many workers run side by side: the usable cores, 1 to 16.

    The environment variable ``TEXT2SQL_WORKERS`` overrides it.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, int(os.environ.get("TEXT2SQL_WORKERS", 0)) or min(16, cores or 1))


class WorkerLost(Exception):
    """The worker ended before it answered. `late` says that it was stopped for its time."""

    def __init__(self, *, late: bool) -> None:
        super().__init__("late" if late else "died")
        self.late = late


class Worker:
    """One worker process and our end of the socket to it."""

    def __init__(self, engine: str, memory_mb: int) -> None:
        self._ready = False
        self._grace = _KILL_GRACE if engine == "sqlite" else _SLOW_KILL_GRACE
        # -S: no third-party code; -P: a module of ours must not hide the package of its name
        options = ["-I", "-S"] if engine == "sqlite" else ["-P"]
        self._socket, theirs = socket.socketpair()
        script = str(Path(__file__).absolute().with_name("worker.py"))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *options, script, engine, str(memory_mb)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"TZ": "UTC"},
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def started(self) -> bool:
        """Whether it has greeted; before that it is given no statement."""
        return self._ready

    def is_alive(self) -> bool:
        """Say whether an idle worker still listens: its end makes the socket readable."""
        try:
            self._socket.settimeout(0)
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def ask(self, request: bytes, seconds: float) -> tuple[Any, ...]:
        """Send one statement and wait for the reply. Raises `WorkerLost`."""
        deadline = perf_counter() + seconds
        try:
            self._socket.settimeout(seconds + self._grace)
            send(self._socket, request)
            reply = receive(self._socket, _TRANSFER_SECONDS)
        except OSError as error:
            raise WorkerLost(late=perf_counter() >= deadline) from error
        if reply is None:
            raise WorkerLost(late=perf_counter() >= deadline)
        answer: tuple[Any, ...] = marshal.loads(reply)
        return answer

    def has_started(self) -> bool:
        """Wait for a new worker's greeting; its start must not count as the statement's time."""
        if not self._ready:
            self._socket.settimeout(_START_SECONDS)
            try:
                self._ready = receive(self._socket) is not None
            except OSError:
                self._ready = False
        return self._ready

    def kill(self) -> None:
        """End the process now; `is_reaped` collects it later, because that may take long."""
        self._socket.close()
        self._process.kill()

    def is_reaped(self) -> bool:
        """Say whether a killed process is gone, and collect it if it is."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """Let an idle worker end by itself, and wait for it."""
        self._socket.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def disown(self) -> None:
        """Forget a worker of the process that this one was forked from."""
        self._socket.close()
        self._process.returncode = 0


class WorkerPool:
    """A bounded number of workers with equal memory limits. Safe to use from many threads."""

    def __init__(self, engine: str, memory_mb: int, size: int) -> None:
        self._engine, self._memory_mb, self._size = engine, memory_mb, size
        self._changed = threading.Condition()
        self._free: list[Worker] = []
        self._busy: set[Worker] = set()
        self._killed: list[Worker] = []
        self._spare: Worker | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._name = f"text2sql-gym-{engine}-{memory_mb}"

    def ask(self, request: bytes, seconds: float) -> tuple[Any, ...]:
        """Run one statement in a free worker, waiting for one if all are busy.

        `seconds` counts from the moment a worker has the statement. Raises `WorkerLost` when
        the worker did not live to answer; another takes its place.
        """
        worker, healthy = self._take_started(), False
        try:
            answer = worker.ask(request, seconds)
            healthy = True
        finally:
            self._give_back(worker, healthy=healthy)
        return answer

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Call `work` in a thread, of which there are as many as workers."""
        with self._changed:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._size, self._name)
            return self._threads.submit(work)

    def pids(self, *, busy: bool = False) -> list[int]:
        """Return the process ids of the workers, or only of those at work.

        One that still starts is not at work: if it dies, another gets its statement.
        """
        with self._changed:
            if busy:
                return [worker.pid for worker in self._busy if worker.started]
            spare = filter(None, [self._spare])
            return [worker.pid for worker in (*self._busy, *self._free, *spare)]

    def close(self) -> None:
        """Stop every worker and thread; statements under way end first, others are cancelled.

        In a thread of the pool, where the last backend may be dropped, that thread ends later.
        """
        if self._threads is not None:
            ours = threading.current_thread().name.rpartition("_")[0] == self._name
            self._threads.shutdown(wait=not ours, cancel_futures=True)
        with self._changed:
            while self._busy:
                self._changed.wait()
            for worker in (*self._free, *self._killed, *filter(None, [self._spare])):
                worker.stop()

    def disown(self) -> None:
        """Forget the workers of the process that this one was forked from."""
        spare = filter(None, [self._spare])
        for worker in (*self._free, *self._busy, *self._killed, *spare):
            worker.disown()

    def _take_started(self) -> Worker:
        for _ in range(_START_ATTEMPTS):
            worker = self._take()
            if worker.has_started():
                return worker
            self._give_back(worker, healthy=False)
        raise EnvironmentFault(f"a worker process ended at its start: {sys.executable}")

    def _take(self) -> Worker:
        with self._changed:
            while not self._free and len(self._busy) >= self._size:
                self._changed.wait()
            worker = self._living(self._free.pop() if self._free else self._spare)
            if self._spare in (worker, None):
                self._spare = Worker(self._engine, self._memory_mb)
            self._busy.add(worker)
            return worker

    def _living(self, worker: Worker | None) -> Worker:
        """Return this worker if it can be used, else a new one; collect what was killed."""
        self._killed = [killed for killed in self._killed if not killed.is_reaped()]
        if worker is not None and worker.is_alive():
            return worker
        if worker is not None:
            worker.kill()
            self._killed.append(worker)
            self._spare = None if worker is self._spare else self._spare
        return Worker(self._engine, self._memory_mb)

    def _give_back(self, worker: Worker, *, healthy: bool) -> None:
        with self._changed:
            self._busy.discard(worker)
            if healthy:
                self._free.append(worker)
            else:
                worker.kill()
                self._killed.append(worker)
            self._changed.notify_all()


_LOCK = threading.RLock()
_POOLS: dict[tuple[str, int], WorkerPool] = {}
_USERS: Counter[tuple[str, int]] = Counter()
_generation = 0


def worker_pool(engine: str, memory_mb: int) -> WorkerPool:
    """Return this process's pool for an engine and memory limit; nothing is started yet."""
    if os.name != "posix":
        raise EnvironmentFault(
            "this statement needs a worker process, which only Linux and macOS offer"
        )
    with _LOCK:
        key = (engine, memory_mb)
        if key not in _POOLS:
            _POOLS[key] = WorkerPool(engine, memory_mb, pool_size())
        return _POOLS[key]


def enter(engine: str, memory_mb: int) -> None:
    """Count one more user of a pool. `leave` must follow."""
    with _LOCK:
        _USERS[engine, memory_mb] += 1


def leave(engine: str, memory_mb: int, entered: int) -> None:
    """Count one user less; the last one closes the pool.

    `entered` is the `generation` in which the user entered: a forked child is no user.
    """
    with _LOCK:
        key = (engine, memory_mb)
        _USERS[key] -= entered == _generation
        pool = None if _USERS[key] > 0 else _POOLS.pop(key, None)
    if pool is not None:
        pool.close()


def generation() -> int:
    """Return a number that differs in a forked child."""
    return _generation


def _after_fork_in_child() -> None:
    """Leave the parent's workers to the parent."""
    global _LOCK, _generation
    _LOCK, _generation = threading.RLock(), _generation + 1
    _USERS.clear()
    for pool in _POOLS.values():
        pool.disown()
    _POOLS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

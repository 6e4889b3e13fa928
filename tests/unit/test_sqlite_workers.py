"""Worker processes: shared, bounded, replaced when they die, and gone when nobody needs them."""

import os
import pickle
import select
import subprocess
import sys
import threading
import weakref
from concurrent.futures import FIRST_COMPLETED, wait

import pytest
from sqlite_files import write

from text2sql_gym.backends.sqlite import SqliteBackend
from text2sql_gym.backends.worker_pool import (
    WorkerLost,
    WorkerPool,
    enter,
    generation,
    leave,
    worker_pool,
)
from text2sql_gym.errors import EnvironmentFault, ToolError
from text2sql_gym.types import CallOutcome, Limits

LINUX = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
LIMITS = Limits(seconds=30.0, vm_steps=10**12, memory_mb=257)  # a pool of its own
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
ONE_LONG_CALL = (  # takes minutes
    "SELECT trim(hex(zeroblob(490000)), replace(hex(zeroblob(40000)), '0', 'a') || '0')"
)


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "shop.sqlite")


@pytest.fixture
def backend(path):
    backend = SqliteBackend(path, LIMITS, isolated=True, cached=False)
    yield backend
    backend.close()


def busy_worker(pool):
    """Wait until a worker is at work, and return its process id."""
    while not pool.pids(busy=True):
        threading.Event().wait(0.001)
    return pool.pids(busy=True)[0]


def test_a_worker_that_dies_at_work_is_an_error_of_the_statement_and_is_replaced(backend):
    pool = worker_pool("sqlite", LIMITS.memory_mb)
    assert backend.execute("SELECT 7", max_rows=1).rows == ((7,),)
    answer = backend.submit(ENDLESS, max_rows=1)
    os.kill(busy_worker(pool), 9)
    with pytest.raises(ToolError, match="died") as caught:
        answer.result()
    assert caught.value.outcome is CallOutcome.SQL_ERROR
    assert backend.execute("SELECT 7", max_rows=1).rows == ((7,),)


def test_a_worker_that_still_starts_is_not_at_work_and_its_death_is_no_answer(
    tmp_path, monkeypatch
):
    mute = tmp_path / "mute"  # starts, and never greets
    mute.write_text("#!/bin/sh\nexec cat\n")
    mute.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(mute))
    pool, killed = WorkerPool("sqlite", 256, 1), set()
    answer = pool.submit(lambda: pool.ask(b"", 60.0))
    while not answer.done():
        assert pool.pids(busy=True) == []
        for pid in set(pool.pids()) - killed:
            os.kill(pid, 9)
            killed.add(pid)
        threading.Event().wait(0.001)
    with pytest.raises(EnvironmentFault, match="ended at its start"):
        answer.result()
    assert len(killed) >= 3
    pool.close()


def test_workers_that_die_idle_are_replaced_without_anyone_noticing(backend):
    pool, killed = worker_pool("sqlite", LIMITS.memory_mb), set()
    for _ in range(5):
        assert backend.execute("SELECT 7", max_rows=1).rows == ((7,),)
        for pid in pool.pids():
            os.kill(pid, 9)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            killed.add(pid)
    assert backend.execute("SELECT 7", max_rows=1).rows == ((7,),)
    left = [pid for pid in killed if os.path.exists(f"/proc/{pid}")]
    assert len(left) <= 2  # collected when a worker is next taken, a spare when it is needed


def test_one_long_call_is_killed_while_others_are_answered(path):
    slow = SqliteBackend(path, Limits(seconds=0.5, memory_mb=257), cached=False)
    fast = SqliteBackend(path, LIMITS, isolated=True, cached=False)
    pending = slow.submit(ONE_LONG_CALL, max_rows=1)
    busy_worker(worker_pool("sqlite", 257))
    assert fast.submit("SELECT 7", max_rows=1).result(timeout=20).rows == ((7,),)
    with pytest.raises(ToolError) as caught:
        pending.result(timeout=20)
    assert caught.value.outcome is CallOutcome.TIMEOUT
    slow.close(), fast.close()


def test_statements_run_side_by_side_and_the_first_ready_is_told_first(path, monkeypatch):
    monkeypatch.setenv("TEXT2SQL_WORKERS", "2")
    limits = Limits(seconds=1.0, vm_steps=10**12, memory_mb=260)
    backend = SqliteBackend(path, limits, isolated=True, cached=False)
    slow, fast = (backend.submit(sql, max_rows=1) for sql in (ENDLESS, "SELECT 7"))
    done, _ = wait([slow, fast], return_when=FIRST_COMPLETED)
    assert done == {fast}
    assert fast.result().rows == ((7,),)
    assert isinstance(slow.exception(), ToolError)
    backend.close()


def test_submit_answers_what_execute_answers(path):
    backend = SqliteBackend(path, Limits(seconds=1.0, memory_mb=257), cached=False)
    statements = ["SELECT Name FROM Customer", "SELECT trim(Name) FROM Customer", "SELECT x", ""]
    for sql in statements:
        pending = backend.submit(sql, max_rows=2)
        try:
            assert pending.result() == backend.execute(sql, max_rows=2)
        except ToolError as error:
            with pytest.raises(ToolError, match=str(error)):
                backend.execute(sql, max_rows=2)
    backend.close()


MEDIUM = "SELECT count(*) FROM n a, n b"  # some hundred thousand steps


@pytest.fixture
def numbers(tmp_path):
    rows = ", ".join(f"({number})" for number in range(300))
    return write(tmp_path / "n.sqlite", f"CREATE TABLE n(i); INSERT INTO n VALUES {rows};")


def test_a_medium_statement_moves_only_where_others_wait_for_this_process(numbers):
    limits = Limits(seconds=30.0, memory_mb=262)
    backend = SqliteBackend(numbers, limits, cached=False)
    pool = worker_pool("sqlite", 262)
    assert backend.execute(MEDIUM, max_rows=1).rows == ((90_000,),)
    assert pool.pids() == []
    assert backend.submit(MEDIUM, max_rows=1).result().rows == ((90_000,),)
    assert pool.pids() != []
    backend.close()


def test_what_needs_a_temporary_file_is_done_in_memory_by_a_worker(numbers, tmp_path):
    backend = SqliteBackend(numbers, Limits(seconds=30.0), isolated=True, cached=False)
    files = sorted(tmp_path.iterdir())
    pairs = "FROM n a, n b ORDER BY b.i DESC, a.i"  # 90,000 rows to sort, about ten megabytes
    table = backend.execute(f"SELECT a.i, b.i, hex(zeroblob(50)) {pairs}", max_rows=2)
    assert table.rows == ((0, 299, "0" * 100), (1, 299, "0" * 100))
    distinct = "SELECT count(*) FROM (SELECT DISTINCT a.i, b.i, hex(zeroblob(50)) FROM n a, n b)"
    assert backend.execute(distinct, max_rows=2).rows == ((90_000,),)
    assert sorted(tmp_path.iterdir()) == files
    backend.close()


def test_a_statement_does_not_wait_behind_a_long_one_of_another_thread(numbers):
    backend = SqliteBackend(numbers, Limits(seconds=30.0, memory_mb=263), cached=False)
    with backend._database()._lock:  # as if one ran there now
        assert backend.execute("SELECT max(i) FROM n", max_rows=1).rows == ((299,),)
    assert worker_pool("sqlite", 263).pids() != []
    backend.execute("SELECT min(i) FROM n", max_rows=1)  # and the lock is free again
    assert backend._database()._lock.acquire(blocking=False)
    backend._database()._lock.release()
    backend.close()


def test_time_spent_waiting_for_a_worker_does_not_count(path):
    backend = SqliteBackend(path, Limits(seconds=0.4, vm_steps=10**12, memory_mb=257), cached=False)
    count = 2 * os.cpu_count() + 1
    answers = [backend.submit(ENDLESS, max_rows=1) for _ in range(count)]
    answers.append(backend.submit("SELECT trim('a')", max_rows=1))
    assert answers[-1].result().rows == (("a",),)
    assert all(isinstance(answer.exception(), ToolError) for answer in answers[:-1])
    backend.close()


def test_many_backends_share_one_small_pool(path, monkeypatch):
    monkeypatch.setenv("TEXT2SQL_WORKERS", "2")
    limits = Limits(memory_mb=258)
    backends = [SqliteBackend(path, limits, isolated=True, cached=False) for _ in range(100)]
    answers = [backend.submit("SELECT 7", max_rows=1) for backend in backends]
    assert {answer.result().rows for answer in answers} == {((7,),)}
    assert len(worker_pool("sqlite", 258).pids()) <= 3  # two at work and a spare
    for backend in backends:
        backend.close()


def test_many_threads_get_their_own_answers_from_few_workers(path, monkeypatch):
    monkeypatch.setenv("TEXT2SQL_WORKERS", "2")
    backend = SqliteBackend(path, Limits(seconds=30.0, memory_mb=262), cached=False)
    pool, wrong, most = worker_pool("sqlite", 262), [], []

    def ask(number):
        for sql in (f"SELECT {number}", f"SELECT trim('{number}') + 0"):
            rows = backend.execute(sql, max_rows=1).rows
            wrong.extend([] if rows == ((number,),) else [rows])
            most.append(len(pool.pids()))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, max(most)) == ([], 3)  # two at work and a spare
    backend.close()


def test_a_user_of_the_parent_process_is_no_user_of_the_pool():
    enter("sqlite", 261)
    pool = worker_pool("sqlite", 261)
    leave("sqlite", 261, generation() - 1)
    assert worker_pool("sqlite", 261) is pool
    leave("sqlite", 261, generation())
    enter("sqlite", 261)
    assert worker_pool("sqlite", 261) is not pool
    leave("sqlite", 261, generation())


def test_the_last_backend_may_be_dropped_in_a_thread_of_its_pool(path):
    kept = [SqliteBackend(path, Limits(memory_mb=262), isolated=True)]
    assert kept[0].execute("SELECT 7", max_rows=1).rows == ((7,),)
    pool = worker_pool("sqlite", 262)
    pids = pool.pids()
    assert pool.submit(kept.clear).result(timeout=20) is None
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    assert worker_pool("sqlite", 262) is not pool


def test_a_statement_keeps_no_backend_alive(path):
    backend = SqliteBackend(path, Limits(memory_mb=262), isolated=True)
    other = SqliteBackend(path, Limits(memory_mb=262), isolated=True)
    answer, dropped = backend.submit("SELECT 7", max_rows=1), weakref.ref(backend)
    del backend
    assert dropped() is None
    assert answer.result(timeout=20).rows == ((7,),)
    other.close()


def test_a_pool_that_is_closed_twice_or_was_never_used_is_no_trouble(path):
    pool = WorkerPool("sqlite", 64, 1)
    pool.close()
    pool.close()
    backend = SqliteBackend(path)
    backend.close()
    backend.close()
    with pytest.raises(EnvironmentFault, match="closed"):
        backend.execute("SELECT 1", max_rows=1)


def test_a_worker_that_cannot_start_is_our_fault(path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/true")
    backend = SqliteBackend(path, Limits(memory_mb=259), isolated=True)
    with pytest.raises(EnvironmentFault, match="ended at its start"):
        backend.execute("SELECT 1", max_rows=1)
    backend.close()


def test_a_lost_worker_says_whether_it_was_late():
    pool = WorkerPool("sqlite", 64, 1)
    with pytest.raises(WorkerLost) as caught:
        pool.ask(b"not a request", 10.0)
    assert not caught.value.late
    pool.close()


def test_a_backend_survives_pickling(backend):
    copy = pickle.loads(pickle.dumps(backend))
    assert copy.url == backend.url
    assert copy.execute("SELECT count(*) FROM sale", max_rows=1).rows == ((3,),)
    copy.close()


@LINUX
def test_nothing_is_left_after_close(path):
    report = run_script(
        """
        def state():
            children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
            return len(os.listdir("/proc/self/fd")), threading.active_count(), len(children)

        before = state()
        for _ in range(2):
            backends = [SqliteBackend(path, Limits(seconds=0.3)) for _ in range(3)]
            answers = [backends[0].submit(sql, max_rows=9) for sql in (LONG, ENDLESS, "SELECT 1")]
            print([type(answer.exception()).__name__ for answer in answers])
            backends[1].execute("SELECT trim(Name) FROM Customer", max_rows=9)
            during = state()
            for backend in backends:
                backend.close()
            print(state() == before, during > before)
        dropped = SqliteBackend(path, isolated=True)
        dropped.execute("SELECT 1", max_rows=1)
        del dropped
        print(state() == before)
        """,
        path,
    )
    assert report == 2 * ["['ToolError', 'ToolError', 'NoneType']", "True True"] + ["True"]


@LINUX
def test_a_forked_child_works_and_leaves_its_parents_workers_alone(path):
    report = run_script(
        """
        backend = SqliteBackend(path, cached=False)
        heavy = "SELECT trim(Name) FROM Customer LIMIT 1"
        backend.execute(heavy, max_rows=1)
        workers, shared = worker_pool("sqlite", 256).pids(), backend._shared
        child = os.fork()
        if child == 0:
            rows = backend.execute("SELECT count(*) FROM sale", max_rows=1).rows
            mine = backend.execute(heavy, max_rows=1).rows, worker_pool("sqlite", 256).pids()
            ok = rows == ((3,),) and mine[0] == (("Ada",),) and not set(mine[1]) & set(workers)
            ok = ok and backend._shared is not shared
            backend.close()
            os._exit(0 if ok else 1)
        print(os.waitpid(child, 0)[1])
        print(backend.execute(heavy, max_rows=1).rows, worker_pool("sqlite", 256).pids() == workers)
        """,
        path,
    )
    assert report == ["0", "(('Ada',),) True"]


@LINUX
def test_workers_end_when_their_parent_is_killed_even_inside_one_long_call(path):
    report = run_script(
        """
        backend = SqliteBackend(path, Limits(seconds=0.3))
        backend.submit(LONG, max_rows=1)
        pool = worker_pool("sqlite", 256)
        while not pool.pids(busy=True):
            pass
        print(*pool.pids(), flush=True)
        sys.stdin.read()
        """,
        path,
        kill_when_it_speaks=True,
    )
    for pid in map(int, report[0].split()):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        assert select.select([handle], [], [], 10)[0], "the worker still runs"
        os.close(handle)


def test_a_backend_left_open_at_exit_stops_its_workers(path):
    script = """
        backend = SqliteBackend(path, isolated=True)
        print(backend.execute("SELECT 7", max_rows=1).rows)
        """
    assert run_script(script, path) == ["((7,),)"]


HEADER = f"""
import os, sys, threading
from text2sql_gym.backends.sqlite import SqliteBackend
from text2sql_gym.backends.worker_pool import worker_pool
from text2sql_gym.types import Limits
path, LONG, ENDLESS = sys.argv[1], {ONE_LONG_CALL!r}, {ENDLESS!r}
"""


def run_script(body, path, *, kill_when_it_speaks=False):
    """Run a script in a fresh process, and return the lines it printed."""
    lines = body.strip("\n").splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    script = HEADER + "\n".join(line[indent:] for line in lines)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if kill_when_it_speaks:
            first = process.stdout.readline()
            process.kill()
            return [first.strip()]
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return output.splitlines()

"""What a backend costs the process that uses it: bounded memory, and nothing after its close."""

import json
import os
import subprocess
import sys

import pytest

from text2sql_gym.backends import BACKENDS

LINUX = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
SCRIPT = ("CREATE TABLE sale (id INTEGER PRIMARY KEY)", "INSERT INTO sale VALUES (1), (2)")
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n{where})"
LONG_TEXT = {
    "duckdb": "repeat('x', 60000)",
    "postgresql": "repeat('x', 60000)",
    "sqlite": "hex(zeroblob(30000))",
}
"""An expression with 60 kB as its value, for each engine."""

PROGRAM = """
import json, os, resource, sys, threading
from text2sql_gym.backends import open_backend
from text2sql_gym.errors import ToolError
from text2sql_gym.types import Limits

url, temporary, large, endless = sys.argv[1:]

def state():
    children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
    files = [name for _, folders, files in os.walk(temporary) for name in folders + files]
    return [len(os.listdir("/proc/self/fd")), threading.active_count(), len(children), files]

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def outcome(answer):
    try:
        table = answer.result()
        return [sum(len(row[0]) for row in table.rows) // 10**6, table.complete]
    except ToolError as error:
        return str(error.outcome)

report, before, memory = [], state(), peak()
for _ in range(2):
    backend = open_backend(url, Limits(seconds=60.0))
    hurried = open_backend(url, Limits(seconds=1.0, vm_steps=10**12))
    stopped = hurried.submit(endless, max_rows=9)
    seen = [outcome(backend.submit(large, max_rows=100_000)), outcome(stopped)]
    seen += [backend.execute("SELECT count(*) FROM sale", max_rows=1).rows, state() != before]
    hurried.submit(endless, max_rows=9)
    backend.close()
    hurried.close()
    del backend, hurried
    report.append([*seen, state() == before])
print(json.dumps([report, peak() - memory]))
"""


@LINUX
@pytest.mark.parametrize("engine", sorted(BACKENDS))
def test_a_huge_result_is_cut_and_nothing_is_left_behind(engine, write_database, tmp_path):
    url = write_database(engine, "bounds", SCRIPT)
    small = f"CASE WHEN i < 2000 THEN '' ELSE {LONG_TEXT[engine]} END"  # 120 MB behind small rows
    large = f"{NUMBERS.format(where=' WHERE i < 4000')} SELECT {small} FROM n"
    endless = f"{NUMBERS.format(where='')} SELECT count(*) FROM n"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url, tmp_path, large, endless],
        capture_output=True, text=True, timeout=300, check=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    report, megabytes = json.loads(done.stdout)
    assert report == [[[31, False], "timeout", [[2]], True, True]] * 2
    assert megabytes < 150

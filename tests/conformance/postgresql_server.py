"""A PostgreSQL server for the tests, from the system's packages, on loopback."""

import os
import shutil
import signal
import socket
import subprocess
from contextlib import closing, contextmanager
from glob import glob
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@contextmanager
def postgresql_server():
    """Start a server, and yield its owner's URL of the database ``postgres``.

    Its folder is none of pytest's, which are closed to the user that it runs as. Skips the test
    where PostgreSQL is not installed or cannot be started.
    """
    initdb, postgres = (_program(name) for name in ("initdb", "postgres"))
    with TemporaryDirectory(prefix="postgresql-") as name:
        with _running(initdb, postgres, Path(name)) as url:
            yield url


@contextmanager
def _running(initdb, postgres, folder):
    who = _user(folder)
    data = str(folder / "data")
    options = ["-U", "owner", "-A", "trust", "-E", "UTF8", "--no-sync", "-D", data]
    _run([initdb, *options], who)
    port = _free_port()  # as late as can be: tests in another process start servers too
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": ""}
    flags = [f"--{name}={value}" for name, value in (settings | {"fsync": "off"}).items()]
    log = folder / "log"
    with log.open("w") as output, subprocess.Popen(
        [postgres, "-D", data, *flags], stdout=output, stderr=output, **who
    ) as server:
        try:
            yield _ready(port, server, log)
        finally:
            server.send_signal(signal.SIGQUIT)  # wait for no client and no statement


def _program(name):
    found = shutil.which(name) or max(glob(f"/usr/lib/postgresql/*/bin/{name}"), default=None)
    if found is None:
        pytest.skip(f"PostgreSQL is not installed: no {name}")
    return found


def _user(folder):
    """Return how to start its programs: it refuses to run as root."""
    if os.getuid() != 0:
        return {"cwd": "/"}
    try:
        shutil.chown(folder, "postgres")
    except LookupError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    return {"cwd": "/", "user": "postgres", "group": "postgres", "extra_groups": []}


def _run(command, who):
    result = subprocess.run(command, capture_output=True, text=True, **who)
    if result.returncode:
        pytest.skip(f"{command[0]} failed: {result.stderr.strip()[-300:]}")


def _free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _ready(port, server, log):
    import psycopg

    url = f"postgresql://owner@127.0.0.1:{port}/postgres"
    while server.poll() is None:
        try:
            psycopg.connect(url).close()
            return url
        except psycopg.OperationalError:
            os.sched_yield()
    pytest.skip(f"the PostgreSQL server did not start: {log.read_text()[-300:]}")

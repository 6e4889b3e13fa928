"""A PostgreSQL server for the tests, from the system's packages, on loopback."""

import os
import shutil
import signal
import socket
import subprocess
from contextlib import closing, contextmanager
from glob import glob

import pytest


@contextmanager
def postgresql_server(folder):
    """Start a server with an empty database ``shop``, and yield its owner's URL.

    Skips the test where PostgreSQL is not installed or cannot be started.
    """
    initdb, postgres = (_program(name) for name in ("initdb", "postgres"))
    who = _user(folder)
    data, port = str(folder / "data"), _free_port()
    options = ["-U", "owner", "-A", "trust", "-E", "UTF8", "--no-sync", "-D", data]
    _run([initdb, *options], who)
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": ""}
    flags = [f"--{name}={value}" for name, value in (settings | {"fsync": "off"}).items()]
    log = folder / "log"
    with log.open("w") as output, subprocess.Popen(
        [postgres, "-D", data, *flags], stdout=output, stderr=output, **who
    ) as server:
        try:
            yield _wait_and_create(port, server, log)
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
    for parent in (folder, *folder.parents):
        if parent.owner() == "root" and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o001)
    return {"cwd": "/", "user": "postgres", "group": "postgres", "extra_groups": []}


def _run(command, who):
    result = subprocess.run(command, capture_output=True, text=True, **who)
    if result.returncode:
        pytest.skip(f"{command[0]} failed: {result.stderr.strip()[-300:]}")


def _free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_and_create(port, server, log):
    import psycopg

    url = f"postgresql://owner@127.0.0.1:{port}/"
    while server.poll() is None:
        try:
            with psycopg.connect(url + "postgres", autocommit=True) as connection:
                connection.execute("CREATE DATABASE shop")
                return url + "shop"
        except psycopg.OperationalError:
            os.sched_yield()
    pytest.skip(f"the PostgreSQL server did not start: {log.read_text()[-300:]}")

"""The worker process, started as a script: ``python -I worker.py ENGINE MEMORY_MB``.

Its standard input is the socket to the parent. It imports of this package only what it needs,
so one for SQLite, which needs no third-party code, starts in some tens of milliseconds.
"""

from __future__ import annotations

import os
import socket
import sys
from types import ModuleType


def main() -> None:
    """Serve the parent until it hangs up."""
    _enter_package()
    from text2sql_gym.backends.worker_server import serve

    serve(socket.socket(fileno=0), sys.argv[1], int(sys.argv[2]))


def _enter_package() -> None:
    """Make this package's modules importable without running any ``__init__``."""
    backends = os.path.dirname(os.path.abspath(__file__))
    for name, folder in (
        ("text2sql_gym", os.path.dirname(backends)),
        ("text2sql_gym.backends", backends),
    ):
        module = ModuleType(name)
        module.__path__ = [folder]
        sys.modules[name] = module


if __name__ == "__main__":
    main()

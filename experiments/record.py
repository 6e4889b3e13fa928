"""What is written beside a result: revision and machine; and how a file is written whole."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch


def write_atomically(file: Path, text: str) -> None:
    """Write beside `file`, flush, rename."""
    partial = file.with_name(f".partial-{file.name}")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, file)


def revision() -> str:
    """The commit of this checkout, with ``+`` when files differ from it; "" without git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head, changed = (
            subprocess.run([*git, *words], capture_output=True, text=True).stdout.strip()
            for words in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except OSError:
        return ""
    return head + ("+" if changed else "")


def machine() -> dict[str, Any]:
    """What the numbers of a run were measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "cuda": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }

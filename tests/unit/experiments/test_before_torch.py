"""The settings of torch's libraries are there before it is, and those of the user stay."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("MKL_CBWR", "LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")


def printed(code, **more):
    """What a fresh Python prints, with none of the settings but `more`."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | more
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout.split()


SHOW = "import os, sys; print(*(os.environ.get(n) for n in {names}), 'torch' in sys.modules)"


def test_they_are_set_without_loading_torch_and_those_of_the_user_stay():
    code = "import experiments.before_torch; " + SHOW.format(names=NAMES)
    assert printed(code) == ["AUTO,STRICT", "64", "64", "False"]
    assert printed(code, LRU_CACHE_CAPACITY="7") == ["AUTO,STRICT", "7", "64", "False"]


@pytest.mark.parametrize("script", ["train_finestep", "evaluate", "bench_learners"])
def test_scripts_set_them_first(script):
    """Loading torch before them would be too late."""
    code = (
        "import builtins, os\ntrue = builtins.__import__\n"
        "def watched(name, *rest, **named):\n"
        "    if name == 'torch': print(*(os.environ.get(n) for n in " + repr(NAMES) + "))\n"
        "    return true(name, *rest, **named)\n"
        f"builtins.__import__ = watched\nimport experiments.{script}"
    )
    assert printed(code)[:3] == ["AUTO,STRICT", "64", "64"]

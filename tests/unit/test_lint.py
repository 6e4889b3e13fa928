"""The repository keeps its own rules: style, types, and the direction of imports."""

import importlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = ("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")


def check(*arguments, cwd=ROOT):
    """Run Python with these arguments; return the exit code and everything that was printed."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def needs(package):
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed")


@pytest.mark.slow
@needs("flake8")
def test_the_style_is_kept():
    code, printed = check("-m", "flake8")
    assert code == 0, printed


@pytest.mark.slow
@needs("mypy")
@needs("torch")
def test_the_types_agree():
    code, printed = check("-m", "mypy")
    assert code == 0, printed


@needs("importlinter")
class TestImports:
    @pytest.fixture
    def copy(self, tmp_path):
        for package in ("text2sql_gym", "agents"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
        shutil.copy(ROOT / "setup.cfg", tmp_path)
        return tmp_path

    def test_their_direction_is_kept(self, copy):
        code, printed = check(*LINT_IMPORTS, cwd=copy)
        assert code == 0, printed

    @pytest.mark.parametrize(
        ("module", "statement", "contract"),
        [
            ("text2sql_gym/registry.py", "import agents.types", "never the reverse"),
            ("text2sql_gym/rewards/recall.py", "import torch", "no deep-learning library"),
            ("text2sql_gym/env.py", "from transformers import Cache", "no deep-learning library"),
            ("agents/credit/grpo.py", "import torch", "credit is numpy only"),
        ],
    )
    def test_a_planted_violation_is_found(self, copy, module, statement, contract):
        with (copy / module).open("a") as file:
            file.write(f"\n{statement}\n")
        code, printed = check(*LINT_IMPORTS, cwd=copy)
        assert code == 1 and f"{contract} BROKEN" in printed


def test_the_environment_imports_without_a_deep_learning_library():
    heavy = ("torch", "transformers", "agents", "duckdb", "psycopg", "pyarrow")
    program = f"import sys, text2sql_gym; sys.exit(str([n for n in {heavy} if n in sys.modules]))"
    assert check("-c", program)[1].strip() == "[]"


@needs("hypothesis")
def test_examples_have_no_deadline_unless_they_ask_for_one():
    settings = importlib.import_module("hypothesis").settings
    assert settings().deadline is None

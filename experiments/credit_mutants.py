"""Plant small mistakes in the code of credit, one at a time, and see which the tests notice.

    python experiments/credit_mutants.py                # every file of agents/credit
    python experiments/credit_mutants.py gigpo pav      # some files

Each mistake is made in memory in a forked process that runs the tests of credit until one fails; no
file is changed. The tests that noticed the mistake before come first. POSIX only. Some 20 minutes
on one core.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FOLDER = ROOT / "agents" / "credit"
TESTS = (
    "tests/unit/credit/test_by_hand.py",
    "tests/unit/credit/test_tokens.py",
    "tests/unit/credit/test_finestep.py",
    "tests/unit/credit/test_statistics.py",
    "tests/unit/credit/test_base.py",
    "tests/unit/experiments/test_credit_pages.py",
    "tests/vectors/test_turn_credit.py",
    "tests/vectors/test_gigpo.py",
    "tests/vectors/test_trust_sql.py",
    "tests/vectors/test_turn_gae.py",
    "tests/vectors/test_verl_advantages.py",
    "tests/vectors/test_skyrl.py",
    "tests/vectors/test_openrlhf.py",
    "tests/vectors/test_trl.py",
    "tests/vectors/test_dapo.py",
    "tests/vectors/test_areal.py",
    "tests/conformance/test_estimator_limits.py",
    "tests/conformance/test_estimators.py",
)
"""from fast to slow"""

_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
_RENAMED = {"minimum": "maximum", "maximum": "minimum", "min": "max", "max": "min",
            "zeros_like": "ones_like", "argmax": "argmin"}


@dataclass(frozen=True)
class Mutant:
    """One mistake in one file."""

    file: Path
    line: int
    what: str
    tree: ast.Module


def mutants(file: Path) -> Iterator[Mutant]:
    """Every mistake in a file, one at a time."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for place, node in enumerate(ast.walk(tree)):
        for what, change in _changes(node):
            copy = deepcopy(tree)
            twin = next(n for i, n in enumerate(ast.walk(copy)) if i == place)
            change(twin)
            yield Mutant(file, getattr(node, "lineno", 0), what, ast.fix_missing_locations(copy))


Change = Callable[[ast.AST], None]


def _changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """What can be done wrong at a node."""
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)):
        new = _SWAPPED.get(type(node.op))
        if new is not None:
            yield f"{type(node.op).__name__} -> {new.__name__}", _set("op", new)
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPPED:
        new = _SWAPPED[type(node.ops[0])]
        yield f"{type(node.ops[0]).__name__} -> {new.__name__}", _first("ops", new)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "minus dropped", _set("op", ast.UAdd)
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        if not isinstance(node.value, bool):
            yield f"{node.value} -> {node.value + 1}", _value(node.value + 1)
    if isinstance(node, (ast.If, ast.IfExp)):
        yield "condition true", _condition(True)
        yield "condition false", _condition(False)
    if isinstance(node, ast.Attribute) and node.attr in _RENAMED:
        yield f"{node.attr} -> {_RENAMED[node.attr]}", _rename("attr", _RENAMED[node.attr])
    if isinstance(node, ast.Name) and node.id in _RENAMED:
        yield f"{node.id} -> {_RENAMED[node.id]}", _rename("id", _RENAMED[node.id])


def _set(field: str, new: type[ast.AST]) -> Change:
    return lambda node: setattr(node, field, new())


def _first(field: str, new: type[ast.AST]) -> Change:
    return lambda node: getattr(node, field).__setitem__(0, new())


def _value(value: float) -> Change:
    return lambda node: setattr(node, "value", value)


def _condition(value: bool) -> Change:
    return lambda node: setattr(node, "test", ast.Constant(value))


def _rename(field: str, name: str) -> Change:
    return lambda node: setattr(node, field, name)


class _Planted(SourceFileLoader):
    """Loads a module from a changed tree."""

    def __init__(self, name: str, mutant: Mutant) -> None:
        super().__init__(name, str(mutant.file))
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._mutant.tree, str(self._mutant.file), "exec")


class _Finder(MetaPathFinder):
    """Finds the mutant's module before the true one."""

    def __init__(self, mutant: Mutant) -> None:
        parts = mutant.file.relative_to(ROOT).with_suffix("").parts
        self._name = ".".join(parts)
        self._mutant = mutant

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._name:
            return None
        loader = _Planted(name, self._mutant)
        return spec_from_file_location(name, self._mutant.file, loader=loader)


def noticed_by(mutant: Mutant | None, tests: Sequence[str]) -> str:
    """Run the tests in a forked process with the mistake planted, file by file.

    Returns the first file with a test that fails, "" where there is none. None plants nothing.
    """
    child = os.fork()
    if child == 0:
        code = len(tests)
        try:
            code = _run(mutant, tests)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return "" if code == 0 else tests[code - 1]


def _run(mutant: Mutant | None, tests: Sequence[str]) -> int:
    """The place of the first file that fails, counted from 1; 0 where there is none."""
    import pytest

    if mutant is not None:
        sys.meta_path.insert(0, _Finder(mutant))
    for place, path in enumerate(tests, start=1):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            if pytest.main(["-x", "-q", "-p", "no:cacheprovider", path]):
                return place
    return 0


def survivors(found: Sequence[Mutant]) -> list[Mutant]:
    """Those of the mistakes in a file that no test notices."""
    tests, alive = list(TESTS), []
    for mutant in found:
        if path := noticed_by(mutant, tests):
            tests.sort(key=lambda other: other != path)  # stable: the others stay in their order
        else:
            alive.append(mutant)
    return alive


def main() -> None:
    """Print the survivors and the share of mistakes that the tests notice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="names of files without .py; default: all")
    options = parser.parse_args()
    os.chdir(ROOT)
    import hypothesis  # noqa: F401  loaded once, before the forks
    import torch  # noqa: F401

    if path := noticed_by(None, TESTS):
        raise SystemExit(f"{path} fails without a mistake; nothing can be told")
    files = [FOLDER / f"{name}.py" for name in options.files] or sorted(FOLDER.glob("*.py"))
    totals = [0, 0]
    for file in files:
        if file.stem.startswith("__"):
            continue
        found = list(mutants(file))
        alive = survivors(found)
        totals[0] += len(found)
        totals[1] += len(alive)
        print(f"{file.name}: {len(found) - len(alive)} of {len(found)} noticed", flush=True)
        for mutant in alive:
            print(f"    line {mutant.line}: {mutant.what}", flush=True)
    print(f"all: {totals[0] - totals[1]} of {totals[0]} noticed")


if __name__ == "__main__":
    main()

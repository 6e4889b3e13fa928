"""Read the recorded cases of reference implementations and run one check per case.

A test module names its file and maps patterns of case names to checks. Every case has exactly
one check; `DIFFERENCES` holds the cases where this package deliberately does something else,
each with the reason, and their checks assert the difference.
"""

import fnmatch
import json
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parent / "data"
SPECIAL = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}


def load(file):
    """Return the shared inputs and the cases of one file."""
    content = json.loads((FOLDER / file).read_text())
    return content["_meta"].get("inputs", {}), content["cases"]


def array(values):
    """Nested lists to float64; "NaN" and "Infinity" are strings in the files."""
    return np.array(_numbers(values), dtype=np.float64)


def tensor(values, *, grad=False):
    """Nested lists to a float64 tensor."""
    return torch.tensor(_numbers(values), dtype=torch.float64, requires_grad=grad)


def _numbers(values):
    if isinstance(values, list):
        return [_numbers(value) for value in values]
    return SPECIAL.get(values, values) if isinstance(values, str) else values


def close(actual, expected):
    """Assert equality at the precision the files were recorded with."""
    if isinstance(actual, torch.Tensor):
        actual = actual.detach().numpy()
    np.testing.assert_allclose(actual, array(expected), rtol=1e-5, atol=1e-6)


def each_case(file, checks):
    """Parametrize a test with (check, case) for every case of the file."""
    _, cases = load(file)
    return pytest.mark.parametrize(
        ("check", "case"),
        [pytest.param(_check_of(case["name"], checks), case, id=case["name"]) for case in cases],
    )


def _check_of(name, checks):
    found = [check for pattern, check in checks.items() if fnmatch.fnmatchcase(name, pattern)]
    assert len(found) == 1, f"{name}: {len(found)} checks"
    return found[0]

"""Read the recorded cases of reference implementations and run one check per case.

A test module maps patterns of case names to checks; every case must have exactly one. A check
decorated with `differs(reason)` belongs to a case where this package deliberately does something
else: it asserts what this package does, and that the reference does otherwise. The numbers are
float32 results printed with nine digits, so they are compared at rtol 1e-5, atol 1e-6.
"""

import fnmatch
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.credit.base import assign, signals

FOLDER = Path(__file__).parent / "data"
SPECIAL = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}

torch.set_num_threads(1)


def load(file):
    """Return the shared inputs and the cases of one file."""
    content = json.loads((FOLDER / file).read_text())
    return content["_meta"].get("inputs", {}), content["cases"]


def array(values):
    """Nested lists to float64; "NaN" and "Infinity" are strings in the files."""
    if isinstance(values, torch.Tensor):
        return values.detach().numpy().astype(np.float64)
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
    np.testing.assert_allclose(array(actual), array(expected), rtol=1e-5, atol=1e-6)


def far(actual, expected):
    """Assert that a deliberate difference is one: the numbers are not the reference's."""
    with pytest.raises(AssertionError):
        close(actual, expected)


def differs(reason):
    """Mark a check as that of a deliberate difference, with its reason."""

    def mark(check):
        check.differs = reason
        return check

    return mark


def each_case(file, checks):
    """Parametrize a test with (check, case) for every case of the file."""
    return pytest.mark.parametrize(
        ("check", "case"),
        [
            pytest.param(check_of(case["name"], checks), case, id=case["name"])
            for case in load(file)[1]
        ],
    )


def check_of(name, checks):
    """Return the check whose pattern fits; an exact name goes before a pattern."""
    if name in checks:
        return checks[name]
    found = [check for pattern, check in checks.items() if fnmatch.fnmatchcase(name, pattern)]
    assert len(found) == 1, f"{name}: {len(found)} checks"
    return found[0]


def rows_by(keys):
    """Return the row numbers of each key, in order of first appearance."""
    rows = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return rows


def attempt_advantages(estimator, scores, keys, **more):
    """Run an estimator on one score per row, rows grouped by key; return one number per row.

    `more` maps the name of a learned signal, or trees_G, to one value per row.
    """
    scores, groups = array(scores), rows_by(keys)
    built = [
        signals(
            scores[rows],
            [[0.0]] * len(rows),
            learned_GS={n: tuple(np.array([v[r]]) for r in rows) for n, v in more.items()},
        )
        for rows in groups.values()
    ]
    result = np.full(len(scores), np.nan)
    for rows, (track,) in zip(groups.values(), assign(estimator, built), strict=True):
        result[rows] = np.concatenate(track.advantages_GS)
    return result


def token_rows(rewards, mask):
    """Return for each row the rewards of its sampled tokens, as steps of one token each."""
    return [row[m > 0] for row, m in zip(array(rewards), array(mask), strict=True)]


def on_mask(matrix, mask):
    """Return the numbers under the mask, row after row."""
    return array(matrix)[array(mask) > 0]

import numpy as np
import pytest

from agents.credit.base import GroupSignals, signals

NAN = float("nan")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: signals([], []), "at least one attempt"),
        (lambda: signals([1, 2], [[0]]), "one outcome per attempt"),
        (lambda: signals([1, 1], [[0], []]), "attempt 1: expected at least one step"),
        (lambda: signals([NAN], [[0]]), "attempt 0: rewards must be finite"),
        (lambda: signals([1, 1], [[0], [NAN]]), "attempt 1: rewards must be finite"),
        (lambda: signals([1], [[0]], states_GS=(("a", "b"),)), "one state key per step"),
        (lambda: signals([1, 1], [[0], [0]], states_GS=(("a",),)), "'states' of every attempt"),
        (lambda: signals([1], [[0]], trees_G=("a", "b")), "'trees' of every attempt"),
        (lambda: _learned(np.zeros(2)), "attempt 0: expected one 'values' value per step"),
        (lambda: _learned(np.array([NAN])), "attempt 0: 'values' must be finite"),
        (lambda: _learned(np.zeros(1), np.zeros(1)), "'values' of every attempt"),
    ],
)
def test_a_broken_group_is_refused_and_the_attempt_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def _learned(*rows):
    return signals([1], [[0]], learned_GS={"values": rows})


def test_a_group_knows_the_lengths_of_its_attempts():
    assert signals([1, 0], [[0, 0], [0]]).steps_G == (2, 1)


def test_a_signal_that_was_not_computed_is_explained():
    with pytest.raises(ValueError, match="'values' \\(critic: .*learned_GS has nothing"):
        signals([1], [[0]]).learned("values")


def test_the_records_are_frozen():
    with pytest.raises(AttributeError):
        signals([1], [[0]]).trees_G = ("a",)
    assert isinstance(signals([1], [[0]]), GroupSignals)

"""Where the time goes."""

import pytest
import torch
from agents.stopwatch import Stopwatch
from agents.trainer import settled


def test_a_stopwatch_adds_up_what_has_the_same_name():
    watch = Stopwatch()
    for name in ("a", "b", "a"):
        with watch(name):
            pass
    assert set(watch.seconds) == {"a", "b"} and min(watch.seconds.values()) >= 0
    assert watch.metrics() == {f"seconds_{name}": spent for name, spent in watch.seconds.items()}


def test_the_device_is_waited_for_at_both_ends_of_a_block():
    calls = []
    watch = Stopwatch(lambda: calls.append("settled"))
    with watch("work"):
        calls.append("work")
    assert calls == ["settled", "work", "settled"]


def test_time_counts_when_the_block_fails():
    watch = Stopwatch()
    with pytest.raises(KeyError), watch("work"):
        raise KeyError("work")
    assert set(watch.seconds) == {"work"}


def test_a_cpu_is_not_waited_for():
    settled(torch.device("cpu"))()

"""Memory that is free goes back to the system."""

from pathlib import Path

import pytest

from agents import memory
from agents.memory import free_bytes, trim

BLOCK = 100_000
"""bytes; small enough for the heap"""


def resident():
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


@pytest.fixture
def holes():
    """Free the blocks of the heap but every fiftieth: nothing at its end is free."""
    if memory._glibc() is None:
        pytest.skip("needs glibc")
    blocks = [bytearray(BLOCK) for _ in range(2_000)]
    kept = blocks[::50]
    del blocks
    yield
    del kept


def test_free_memory_between_blocks_in_use_is_returned(holes):
    free, before = free_bytes(), resident()
    assert free > 1_500 * BLOCK
    assert trim(kept=free // 2)
    assert before - resident() > 1_000 * BLOCK


def test_little_free_memory_is_kept(holes):
    before = resident()
    assert not trim(kept=10 * free_bytes())
    assert before - resident() < 100 * BLOCK


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    assert not trim(kept=0) and free_bytes() == 0

"""How much of a result is fetched, and where it is cut."""

import marshal

import pytest

from text2sql_gym.backends import answers
from text2sql_gym.backends.answers import CHUNK_CELLS, RESULT_BYTES, fetch
from text2sql_gym.backends.sqlite_guard import LIGHT


class Source:
    """Rows by demand, and how many were asked for each time."""

    def __init__(self, rows):
        self.left, self.asked = list(rows), []

    def __call__(self, count):
        self.asked.append(count)
        taken, self.left = self.left[:count], self.left[count:]
        return taken


@pytest.mark.parametrize("first_cells", [1, 2, 4, 64])
@pytest.mark.parametrize("weigh_first", [True, False])
@pytest.mark.parametrize(
    ("max_rows", "expected"), [(0, (0, False)), (4, (4, False)), (5, (5, True)), (9, (5, True))]
)
def test_rows_are_fetched_up_to_the_limit(max_rows, expected, first_cells, weigh_first):
    given = [(number, "a") for number in range(5)]
    source = Source(given)
    rows, complete = fetch(source, 2, max_rows, first_cells=first_cells, weigh_first=weigh_first)
    assert (len(rows), complete) == expected
    assert rows == given[: len(rows)]
    assert sum(source.asked) <= max_rows + 1


def test_chunks_double_up_to_a_number_of_cells():
    source = Source([(0,) * 10] * 9_000)
    fetch(source, 10, 8_000, first_cells=64)
    assert source.asked == [6, 12, 24, 48, 96, 192, 384, 768, *[790] * 8, 151]


def large(count):
    """Rows of about 1 kB; what is the same object twice would weigh once."""
    return [("x" * 997 + f"{number:03}",) for number in range(count)]


@pytest.mark.parametrize("first_cells", [1, 3, 64])
def test_rows_are_cut_where_they_weigh_too_much(monkeypatch, first_cells):
    monkeypatch.setattr(answers, "RESULT_BYTES", 10_500)
    for small in ([], [("x",)], [("x",)] * 5):
        rows, complete = fetch(Source(small + large(99)), 1, 200, first_cells=first_cells)
        assert (rows, complete) == (small + large(10), False)
    rows, complete = fetch(Source(large(10)), 1, 200, first_cells=first_cells)
    assert (rows, complete) == (large(10), True)
    rows, complete = fetch(Source([("x" * 20_000,)]), 1, 200, first_cells=first_cells)
    assert (rows, complete) == ([], False)


def test_only_a_first_chunk_may_go_unweighed(monkeypatch):
    monkeypatch.setattr(answers, "RESULT_BYTES", 2_500)
    for count, expected in ((3, (3, True)), (4, (2, False)), (5, (2, False))):
        rows, complete = fetch(Source(large(count)), 1, 9, first_cells=4, weigh_first=False)
        assert (len(rows), complete) == expected
    rows, complete = fetch(Source(large(9)), 1, 3, first_cells=4, weigh_first=False)
    assert (len(rows), complete) == (3, False)


def test_a_chunk_of_this_process_never_weighs_too_much():
    rows = [("x" * (LIGHT.length - 4) + f"{number:04}",) for number in range(CHUNK_CELLS)]
    assert 0.98 * RESULT_BYTES < len(marshal.dumps(rows)) < RESULT_BYTES
    assert LIGHT.first_cells == CHUNK_CELLS


def test_rows_that_count_too_much_are_cut(monkeypatch):
    monkeypatch.setattr(answers, "RESULT_CELLS", 6)
    for width, count in ((1, 6), (2, 3), (4, 1), (6, 1), (7, 0)):
        rows, complete = fetch(Source([("a",) * width] * 9), width, 9)
        assert (len(rows), complete) == (count, False)
    assert fetch(Source([("a", "b")] * 3), 2, 9) == ([("a", "b")] * 3, True)
    assert fetch(Source([()] * 3), 0, 9) == ([()] * 3, True)

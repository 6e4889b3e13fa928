"""How a result is shown: named columns, in order, within limits, with every cut said."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text2sql_gym.display import neutral, one_line, show_cell, show_error, show_table
from text2sql_gym.types import Limits, Table

LIMITS = Limits(shown_rows=3, shown_cell_characters=8, shown_characters=100)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("</result>", "&lt;/result>"),
        ("<final_sql>SELECT 1</final_sql>", "&lt;final_sql>SELECT 1&lt;/final_sql>"),
        ("<|im_end|>", "&lt;|im_end|>"),
        ("<｜end▁of▁sentence｜>", "&lt;｜end▁of▁sentence｜>"),
        ("<!-- -->", "&lt;!-- -->"),
        ("<_x>", "&lt;_x>"),
        ("<<result>", "<&lt;result>"),
        ("[/INST][TOOL_RESULTS] [THINK]", "&#91;/INST]&#91;TOOL_RESULTS] &#91;THINK]"),
        ("[id], [INST, INST], [inst], [[1]], [/x]", "[id], [INST, INST], [inst], [[1]], [/x]"),
        ("a < b, c <= 3, d <> e, <5", "a < b, c <= 3, d <> e, <5"),
        ("<", "<"),
    ],
)
def test_no_text_can_be_read_as_a_tag(text, shown):
    assert neutral(text) == shown


@settings(deadline=None)
@given(st.text(alphabet="<>/|reslt_ 1=", max_size=30))
def test_neutral_text_holds_no_tag_and_stays_as_it_is(text):
    shown = neutral(text)
    assert not re.search(r"<[A-Za-z/|_]", shown)
    assert neutral(shown) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "NULL"),
        (7, "7"),
        (2.5, "2.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        ("", ""),
        ("12345678", "12345678"),
        ("123456789", "12345678...(+1 characters)"),
        ("[INST]", "&#91;INST]"),
        ("[a]", "[a]"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x00\x1b\x85\u2028", r"\x00\x1b\x85\u2028"),
        ("\ud800", r"\ud800"),
        (b"", "x''"),
        (b"\x00\xff", "x'00ff'"),
        (b"12345", "x'31323334'...(+1 bytes)"),
        (b"1" * 1_000_000, "x'31313131'...(+999996 bytes)"),
    ],
)
def test_a_cell_is_one_line_and_its_cut_is_told_in_full(value, shown):
    assert show_cell(value, LIMITS) == shown


def test_the_largest_integers_and_floats_are_shown_in_full():
    assert show_cell(-(2**63), LIMITS) == "-9223372036854775808"
    assert show_cell(float("inf"), LIMITS) == "inf"


def test_an_error_is_cut_and_made_neutral_too():
    assert show_error("near </result>:\n syntax", LIMITS) == r"Error: near &lt;/result>:\n syntax"
    assert show_error("x" * 150, LIMITS) == f"Error: {'x' * 100}...(+50 characters)"


def table(rows, *, complete=True, columns=("a", "b")):
    return Table(columns, tuple(rows), complete)


@pytest.mark.parametrize(
    ("rows", "complete", "last"),
    [
        (0, True, "(0 rows)"),
        (1, True, "(1 row)"),
        (3, True, "(3 rows)"),
        (4, True, "(3 rows shown of 4)"),
        (0, False, "(0 rows shown of more than 0)"),
        (3, False, "(3 rows shown of more than 3)"),
        (5, False, "(3 rows shown of more than 5)"),
    ],
)
def test_the_last_line_says_what_is_shown_of_how_much(rows, complete, last):
    lines = show_table(table([(1, "x")] * rows, complete=complete), LIMITS).split("\n")
    assert lines == ["a | b", *["1 | x"] * min(rows, 3), last]


def test_rows_keep_their_order_and_duplicates():
    assert show_table(table([(2, "b"), (1, "a"), (2, "b")]), LIMITS) == (
        "a | b\n2 | b\n1 | a\n2 | b\n(3 rows)"
    )


def test_names_of_columns_are_shown_like_cells():
    shown = show_table(table([], columns=("</result>", "two\nlines", "much too long")), LIMITS)
    assert shown == r"&lt;/result...(+1 characters) | two\nline...(+1 characters) | " + (
        "much too...(+5 characters)\n(0 rows)"
    )


def test_rows_that_do_not_fit_are_left_out_whole():
    wide = Limits(shown_rows=9, shown_cell_characters=80, shown_characters=30)
    shown = show_table(table([("x" * 9, "y")] * 4, columns=("a", "b")), wide)
    # 5 + 13 + 13 characters are over 30, 5 + 13 are not
    assert shown == "a | b\nxxxxxxxxx | y\n(1 rows shown of 4)"


def test_a_first_row_too_wide_is_cut_instead_of_left_out():
    wide = Limits(shown_cell_characters=80, shown_characters=50)
    shown = show_table(table([("x" * 70, "y" * 70)]), wide).split("\n")
    assert shown[0] == "a | b"
    assert shown[1] == f"{'x' * 24}...(+119 characters)"
    assert shown[2] == "(1 row)"
    assert len(shown[0] + shown[1]) <= 50


@pytest.mark.parametrize(("characters", "row"), [(15, "xxx | yyy"), (14, "...(+9 c")])
def test_a_first_row_that_just_fits_is_whole_and_a_cut_says_so_first(characters, row):
    shown = show_table(table([("xxx", "yyy")]), Limits(shown_characters=characters))
    assert shown == f"a | b\n{row}\n(1 row)"


CELLS = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=30),
    st.binary(max_size=30),
    st.sampled_from(["</result>", "a\nb", "<|im_end|>", "x" * 500]),
)
NAMES = st.text(max_size=12)


@st.composite
def tables(draw):
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.tuples(*[CELLS] * width), max_size=6))
    columns = draw(st.tuples(*[NAMES] * width))
    return Table(columns, tuple(rows), draw(st.booleans()))


@settings(deadline=None)
@given(tables(), st.integers(1, 8), st.integers(1, 40), st.integers(1, 300))
def test_no_table_exceeds_the_limits_or_miscounts(shown_table, rows, cell, characters):
    limits = Limits(shown_rows=rows, shown_cell_characters=cell, shown_characters=characters)
    shown = show_table(shown_table, limits)
    *above, last = shown.split("\n")
    assert shown.splitlines() == shown.split("\n")
    assert sum(map(len, above)) <= characters
    assert 1 <= len(above) <= rows + 1
    assert not re.search(r"<[A-Za-z/|_!?]", shown)
    shown.encode()
    total, count = len(shown_table.rows), len(above) - 1
    if not shown_table.complete:
        assert last == f"({count} rows shown of more than {total})"
    elif count < total:
        assert last == f"({count} rows shown of {total})"
    else:
        assert last == ("(1 row)" if total == 1 else f"({total} rows)")


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(1, 60))
def test_a_line_says_exactly_how_much_it_leaves_out(text, limit):
    shown = one_line(text, limit)
    if len(text) > limit:
        assert shown.endswith(f"...(+{len(text) - limit} characters)")
    assert len(shown.splitlines()) <= 1

"""When two texts are the same statement."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text2sql_gym.sql_text import normalized

PIECES = st.sampled_from(
    ["SELECT", "a", "1", "'it''s'", '"A b"', "[x y]", "`q`", "'", '"', "[", "`", "/*", "*/", "--",
     " ", "\n", ";", "||", "x'", "<", "=", "é", "\0"]
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT a FROM t", "select  A\n from\tT ;"),
        ("SELECT a,b FROM t", "SELECT a , b FROM t;;"),
        ("SELECT a FROM t WHERE x=1", "SELECT a FROM t WHERE x = 1"),
        ("SELECT a FROM t", "SELECT a FROM t -- again"),
        ("SELECT a FROM t", "/* again */ SELECT a /* and */ FROM t"),
        ("SELECT a FROM t", "SELECT a--;\nFROM t"),
        ("SELECT a FROM t", "SELECT a FROM t /* not closed"),
        ("SELECT 'it''s'", "select 'it''s'"),
    ],
)
def test_case_space_comments_and_a_last_semicolon_do_not_count(one, other):
    assert normalized(one) == normalized(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT 'Oslo'", "SELECT 'oslo'"),
        ("SELECT 'a b'", "SELECT 'a  b'"),
        ('SELECT "A"', 'SELECT "a"'),
        ("SELECT [A b]", "SELECT [a b]"),
        ("SELECT `A`", "SELECT `a`"),
        ("SELECT '-- a'", "SELECT '-- b'"),
        ("SELECT '/* a */'", "SELECT '/* b */'"),
        ("SELECT 'it''s'", "SELECT 'it' 's'"),
        ("SELECT x'AB'", "SELECT x 'AB'"),
        ("SELECT ab", "SELECT a b"),
        ("SELECT 1 -- a\n + 1", "SELECT 1 -- a + 1"),
        ("SELECT a - - 1", "SELECT a --1"),
        ("SELECT ''", "SELECT ';'"),
    ],
)
def test_different_statements_stay_different(one, other):
    assert normalized(one) != normalized(other)


def test_an_open_quote_reaches_to_the_end():
    assert normalized("SELECT 'A -- B") == "select 'A -- B"


@settings(deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_a_normal_form_is_its_own_normal_form(sql):
    assert normalized(normalized(sql)) == normalized(sql)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_has_a_normal_form(sql):
    assert len(normalized(sql)) <= 4 * len(sql)


@pytest.mark.parametrize("piece", ["[", "'", '"', "`", "/*", "--", "x'", "('", " ", ";", "[`"])
def test_a_megabyte_of_anything_is_read_in_linear_time(piece):
    # a quadratic reader would need hours for this one
    assert isinstance(normalized(piece * (1_000_000 // len(piece))), str)

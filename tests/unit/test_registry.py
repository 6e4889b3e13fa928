"""Names are looked up with help for whoever misspelt them."""

import pytest

from text2sql_gym.errors import Text2SQLError, UnknownName
from text2sql_gym.registry import lookup


def test_a_known_name_gives_its_entry():
    assert lookup({"strict": 1, "loose": 2}, "loose", "matcher") == 2


def test_a_misspelt_name_is_answered_with_the_nearest_and_with_all():
    with pytest.raises(UnknownName) as caught:
        lookup({"strict": 1, "loose": 2}, "strikt", "matcher")
    message = "no matcher named 'strikt'. Did you mean 'strict'? Known: loose, strict."
    assert str(caught.value) == message


def test_a_name_like_no_other_gets_no_suggestion():
    with pytest.raises(UnknownName, match=r"no matcher named 'qqq'\. Known: strict\."):
        lookup({"strict": 1}, "qqq", "matcher")


def test_of_many_names_only_the_first_are_listed():
    table = {f"task/{number:04d}": number for number in range(5_000)}
    with pytest.raises(UnknownName) as caught:
        lookup(table, "task/9999", "task")
    message = str(caught.value)
    assert "task/0029 and 4970 more." in message and "task/0030" not in message
    assert "Did you mean 'task/" in message


def test_a_name_that_is_no_text_is_unknown_too():
    with pytest.raises(UnknownName, match="no matcher named None"):
        lookup({"strict": 1}, None, "matcher")


def test_an_unknown_name_is_a_lookup_error_and_one_of_ours():
    assert issubclass(UnknownName, LookupError) and issubclass(UnknownName, Text2SQLError)

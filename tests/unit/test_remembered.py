"""What is remembered of a record, and for which record."""

from text2sql_gym.prompts import ddl, shown_schema
from text2sql_gym.remembered import by_identity
from text2sql_gym.types import Column, TableSchema


def counted(capacity):
    calls = []

    @by_identity(capacity)
    def pair(record, other):
        """Join them."""
        calls.append((record, other))
        return (*record, other)

    return pair, calls


def test_a_value_is_computed_once_per_record_and_arguments():
    pair, calls = counted(8)
    record = [1, 2]  # a list cannot be hashed, and need not be
    assert pair(record, "a") == pair(record, "a") == (1, 2, "a")
    assert pair(record, "b") == (1, 2, "b")
    assert calls == [(record, "a"), (record, "b")]


def test_an_equal_record_is_another_record():
    pair, calls = counted(8)
    assert pair([1], "a") == pair([1], "a")
    assert len(calls) == 2


def test_only_the_last_values_are_remembered():
    pair, calls = counted(1)
    first, second = [1], [2]
    for record in (first, second, first):
        pair(record, "a")
    assert len(calls) == 3


def test_the_name_and_the_docstring_stay():
    pair, _ = counted(1)
    assert (pair.__name__, pair.__doc__) == ("pair", "Join them.")


def test_a_remembered_schema_is_shown_as_it_is_and_holds_no_tag():
    schema = (TableSchema("shop", (Column("<b>", "TEXT"), Column("id", "INTEGER", True))),)
    assert shown_schema(schema, "ddl") == ddl(schema).replace("<b>", "&lt;b>")
    assert shown_schema(schema, "ddl") is shown_schema(schema, "ddl")
    assert shown_schema(schema, "compact") == 'shop("&lt;b>", id)'

"""English and SQL spelling of names and values: plural, phrase, identifier, literal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from text2sql_gym.sql_text import delimited

_KEYWORDS = frozenset(
    "add all alter and as autoincrement between case cast check collate commit constraint create "
    "cross current_date current_time current_timestamp default deferrable delete distinct drop "
    "else escape except exists false foreign from full group having if in index inner insert "
    "intersect into is isnull join left like limit match natural not nothing notnull null on or "
    "order outer primary raise references returning right rowid select set table then to "
    "transaction true union unique update using values when where".split()
)
"""The words that SQLite does not take, or takes for something else, as a bare name."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORDS = re.compile(r"[A-Za-z]+([ _-][A-Za-z]+)*\Z")
_IRREGULAR = {"person": "people", "child": "children", "quiz": "quizzes"}
_UNCHANGED = frozenset("aircraft cargo people children staff fish series".split())


def is_keyword(name: str) -> bool:
    """Return whether `name` must be quoted to serve as an identifier."""
    return name.lower() in _KEYWORDS


def plural(noun: str) -> str:
    """Return the plural of a noun or of the last word of a snake_case compound."""
    head, joint, last = noun.rpartition("_")
    return head + joint + _plural_word(last)


def _plural_word(word: str) -> str:
    if word in _UNCHANGED:
        return word
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if re.search(r"[^aeiou]y\Z", word):
        return word[:-1] + "ies"
    if re.search(r"(s|x|z|ch|sh)\Z", word):
        return word + "es"
    return word + "s"


def phrase(name: str) -> str:
    """Return a schema name as a question says it: ``visitYear`` and ``visit_year`` alike."""
    return " ".join(_CAMEL.sub(" ", name).replace("_", " ").split()).lower()


def things(table: str) -> str:
    """Return what a question calls the rows of a table: its name, in the plural unless it is."""
    words = phrase(table)
    if any(word.endswith("s") for word in words.split()):  # documents mailed
        return words
    head, joint, last = words.rpartition(" ")
    return head + joint + _plural_word(last)


def identifier(name: str) -> str:
    """Return `name` as SQL, quoted only where it must be."""
    if _PLAIN.match(name) and not is_keyword(name):
        return name
    return delimited(name)


def literal(value: str | int | float) -> str:
    """Return a value as an SQL literal."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def spoken_forms(values: Sequence[str]) -> Mapping[str, str]:
    """Return how values are said whose spelling has capitals or joins words.

    ``IN_PROGRESS`` is in progress, ``Village Store`` is village store. Empty unless this holds for
    every value, no two sound alike, and all are letters only: whether a number is a code or a part
    of the name (``Boeing 747``) cannot be told from the spelling.
    """
    if not all(_WORDS.match(value) for value in values):
        return {}
    said = {value: phrase(value.replace("-", " ")) for value in values}
    alike = len(set(said.values())) < len(said)
    return {} if alike or any(stored == form for stored, form in said.items()) else said

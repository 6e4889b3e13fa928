"""Look a name up in a registry dict, and help whoever misspelt it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from text2sql_gym.errors import UnknownName

T = TypeVar("T")

_LISTED = 30
"""names listed in a message; a dataset has thousands of task ids"""


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return ``table[name]``.

    Raises `UnknownName` naming the nearest entry (``Did you mean 'strict'?``) and the entries
    there are, of many only the first. `kind` is the noun used in that message, such as
    ``"matcher"``.
    """
    if name in table:
        return table[name]
    nearest = difflib.get_close_matches(str(name), table, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    known = ", ".join(sorted(table)[:_LISTED])
    more = f" and {len(table) - _LISTED} more" if len(table) > _LISTED else ""
    raise UnknownName(f"no {kind} named {name!r}.{hint} Known: {known}{more}.")

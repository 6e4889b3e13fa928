"""Say which part of the schema the answer needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from text2sql_gym.backends.base import Backend
from text2sql_gym.errors import ToolError
from text2sql_gym.prompts import quoted
from text2sql_gym.tools.base import column_named, named_arguments, table_named
from text2sql_gym.types import CallOutcome, Limits, ToolResult

_TOKEN = re.compile(r'\s+|("(?:[^"]++|"")*+"|[^\s"(),;]+|[(),;])|(\S)')


def propose_schema(backend: Backend, arguments: Mapping[str, str], limits: Limits) -> ToolResult:
    """Propose the tables and columns that the final query needs.

    Arguments: ``schema``, written like sale(id, shop_id); shop(id, "zip code").
    """
    (text,) = named_arguments(arguments, "schema")
    proposal = parse_proposal(text)
    for name, columns in proposal.items():
        table = table_named(backend, name)
        for column in columns:
            column_named(table, column)
    count = sum(map(len, proposal.values()))
    return ToolResult(f"({len(proposal)} tables and {count} columns proposed)")


def parse_proposal(text: str) -> dict[str, tuple[str, ...]]:
    """Return the columns of each table of a proposal, all names in lower case.

    Names that are not plain words stand in double quotes. A table named twice has the columns of
    both. Raises `ToolError` for a text that is no proposal, or proposes nothing. Linear in the
    length of `text`.
    """
    proposal: dict[str, tuple[str, ...]] = {}
    for table in _split(_tokens(text), ";"):
        match table:
            case [first, "(", *columns, ")"] if _is_name(first):
                name, new = _plain(first), map(_only_name, _split(columns, ","))
                proposal[name] = tuple(dict.fromkeys([*proposal.get(name, ()), *new]))
            case _:
                raise _not_a_proposal()
    if not proposal:
        raise _not_a_proposal()
    return proposal


def write_proposal(pairs: Iterable[tuple[str, str]]) -> str:
    """Write (table, column) pairs as a proposal; (table, "") is a table without a column."""
    tables: dict[str, dict[str, None]] = {}
    for table, column in pairs:
        tables.setdefault(table, {}).update({column: None} if column else {})
    return "; ".join(
        f"{quoted(table)}({', '.join(map(quoted, columns))})" for table, columns in tables.items()
    )


def _tokens(text: str) -> list[str]:
    tokens = []
    for found in _TOKEN.finditer(text):
        if found[2]:  # a quote that is not closed
            raise _not_a_proposal()
        tokens.append(found[1])
    return list(filter(None, tokens))


def _split(tokens: Iterable[str], separator: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == separator:
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def _only_name(tokens: list[str]) -> str:
    if len(tokens) != 1 or not _is_name(tokens[0]):
        raise _not_a_proposal()
    return _plain(tokens[0])


def _is_name(token: str) -> bool:
    return token not in ("(", ")", ",", ";")


def _plain(name: str) -> str:
    return (name[1:-1].replace('""', '"') if name.startswith('"') else name).lower()


def _not_a_proposal() -> ToolError:
    return ToolError(
        'expected a schema like: sale(id, shop_id); shop(id, "zip code")', CallOutcome.MALFORMED
    )

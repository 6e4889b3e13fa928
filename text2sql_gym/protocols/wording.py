"""What the prompts of all protocols share: how the schema and the question are put."""

from __future__ import annotations

from collections.abc import Sequence

from text2sql_gym.display import neutral
from text2sql_gym.prompts import engine_of, shown_schema
from text2sql_gym.protocols.base import Message
from text2sql_gym.tools import describe
from text2sql_gym.types import Schema, Task, Turn

RULES = """\
- Precision: output only what the question asks for. If it asks for one column, select only that \
column.
- Completeness: return all of the information asked for, with nothing missing and nothing extra."""

_CATALOGUES = {"SQLite": "sqlite_master"}


def check_schema_option(schema: str) -> None:
    """Raise ValueError for anything but "full" and "unknown"."""
    if schema not in ("full", "unknown"):
        raise ValueError(f"schema: expected 'full' or 'unknown', got {schema!r}")


def checked_tools(tools: Sequence[str], *needed: str) -> tuple[str, ...]:
    """Return the tools of a protocol, which must have the `needed` ones; JSON gives a list.

    Raises `UnknownName` for a tool that does not exist, ValueError where one is missing.
    """
    describe(tools := tuple(tools))
    if not set(needed) <= set(tools):
        expected = " and ".join(map(repr, needed))
        raise ValueError(f"tools: expected {expected} in {tools}")
    return tools


def where_to_look(task: Task, tools: tuple[str, ...], option: str) -> str:
    """The sentence on an unknown schema, with a space before it; "" where the schema is shown."""
    if option == "full":
        return ""
    helpers = [name for name in ("list_tables", "describe_table") if name in tools]
    catalogue = _CATALOGUES.get(engine_of(task.database), "information_schema.columns")
    how = f"with {' and '.join(helpers)}" if helpers else f"by querying {catalogue}"
    return f" You do not know the schema of the database: find it out {how}."


def question_message(task: Task, schema: Schema, option: str, style: str = "ddl") -> Message:
    """The user's message: the schema unless it is unknown, and the question with its evidence."""
    asked = neutral(f"{task.question}{_evidence(task)}")
    shown = shown_schema(schema, style) if option == "full" else ""
    if style == "compact":
        return {"role": "user", "content": f"{shown}\n{asked}".lstrip()}
    above = f"Database schema:\n{shown}\n\n" if shown else ""
    return {"role": "user", "content": f"{above}Question: {asked}"}


def tagged_result(turn: Turn, remaining_turns: int, last_words: str) -> Message:
    """A result between ``<result>`` tags; when one turn is left, what to do in it."""
    notice = f"\nOne turn is left: {last_words}." if remaining_turns == 1 else ""
    return {"role": "tool", "content": f"<result>\n{turn.result.text}{notice}\n</result>"}


def _evidence(task: Task) -> str:
    return f"\nEvidence: {task.evidence}" if task.evidence else ""

"""The four-phase protocol of TRUST-SQL: explore, propose, generate, confirm, on an unknown schema.

Source: arXiv 2603.16448 and its released code: the four actions, the form of a turn and of a
proposal. There the order of the phases is a rule of the prompt that only the format reward looks
at. Here a call that breaks it is answered with an error and a typed outcome of its own:

no_proposal   generate_sql or confirm_answer before any schema was proposed
unproposed    such a query reads a table or column that the latest proposal does not have
out_of_phase  explore_schema reads rows of a table instead of the catalogue, or confirm_answer comes
              before any query was generated

A confirmed answer ends the episode and is judged in any case; the outcome of the call says what it
broke. What a query reads is what the engine reports, not what its text claims. The tools that list
and describe tables, the answers to violations and the wording of the prompt are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from text2sql_gym.display import one_line
from text2sql_gym.prompts import engine_of
from text2sql_gym.protocols.base import AgentProtocol, Message
from text2sql_gym.protocols.turns import (
    Grammar,
    malformed,
    read_call,
    read_json,
    write_call,
    write_json,
)
from text2sql_gym.protocols.wording import (
    RULES,
    check_schema_option,
    checked_tools,
    question_message,
    tagged_result,
    where_to_look,
)
from text2sql_gym.sql_text import delimited, names
from text2sql_gym.tools import describe, summary
from text2sql_gym.tools.propose_schema import parse_proposal
from text2sql_gym.types import (
    CallOutcome,
    Limits,
    Schema,
    Task,
    ToolCall,
    ToolResult,
    Turn,
)

_SYSTEM = """\
You answer questions over a {dialect} database by writing SQL.{unknown} Never guess a table or a \
column: work in four phases, and go back to an earlier one when you need to.

1. explore_schema: find out what there is. Queries may read the catalogue only.
2. propose_schema: {propose_schema}
3. generate_sql: run a query that keeps to the latest proposal.
4. confirm_answer: {submit} It keeps to the latest proposal and comes after a query was generated.

Instructions:
{rules}

You have {turns} turns. The last one must be the answer. Each turn is one of these four:

<think>reasoning</think>
<action>explore_schema</action>
<tool_call>{{"name": "{first}", "arguments": {{...}}}}</tool_call>

<think>reasoning</think>
<action>propose_schema</action>
<schema>{{"tables": ["sale"], "columns": {{"sale": ["id", "shop_id"]}}}}</schema>

<think>reasoning</think>
<action>generate_sql</action>
<tool_call>{{"name": "execute_sql", "arguments": {{"sql": "SELECT ..."}}}}</tool_call>

<think>reasoning</think>
<action>confirm_answer</action>
<answer>SELECT ...</answer>

Tools:
{tools}

A query is answered with the columns and the first {rows} rows of its result, or with an error. \
Write nothing outside the tags."""

_GRAMMAR = Grammar(lead=("think", "action"), modes=("tool_call", "schema", "answer"))

_PAYLOADS = {
    "explore_schema": "tool_call",
    "propose_schema": "schema",
    "generate_sql": "tool_call",
    "confirm_answer": "answer",
}
"""The tag that follows each action."""

_A_SCHEMA = '<schema>{"tables": ["a"], "columns": {"a": ["b", "c"]}}</schema>'


@dataclass(frozen=True)
class TrustSql(AgentProtocol):
    """``<think>…</think><action>…</action>`` then ``<tool_call>``, ``<schema>`` or ``<answer>``.

    dialect  the SQL dialect named in the instructions; "" is that of the task's database
    schema   "unknown" leaves the schema out of the prompt, as in the paper; "full" shows it, and
             the policy has to propose the part it needs all the same
    tools    what may be called: execute_sql, propose_schema and submit, and for exploration more
             of `TOOLS`
    """

    dialect: str = ""
    schema: str = "unknown"
    tools: tuple[str, ...] = (
        "list_tables",
        "describe_table",
        "execute_sql",
        "propose_schema",
        "submit",
    )

    def __post_init__(self) -> None:
        check_schema_option(self.schema)
        needed = ("execute_sql", "propose_schema", "submit")
        object.__setattr__(self, "tools", checked_tools(self.tools, *needed))

    def prompt(
        self, task: Task, schema: Schema, limits: Limits, max_turns: int
    ) -> tuple[Message, ...]:
        """The instructions; the question, and above it the schema if it is shown."""
        system = _SYSTEM.format(
            dialect=self.dialect or engine_of(task.database),
            unknown=where_to_look(task, self.tools, self.schema),
            rules=RULES,
            turns=max_turns,
            rows=limits.shown_rows,
            first=self._explorers[0],
            propose_schema=summary("propose_schema"),
            submit=summary("submit"),
            tools=describe(self._explorers),
        )
        user = question_message(task, schema, self.schema)
        return ({"role": "system", "content": system}, user)

    def parse(self, action: str) -> ToolCall:
        """Read one turn; an unknown action, or one with another's payload, is malformed too."""
        found = _GRAMMAR.read(action)
        phase = found["action"].strip()
        if _PAYLOADS.get(phase) not in found:
            forms = ", ".join(f"{name} with <{tag}>" for name, tag in _PAYLOADS.items())
            raise malformed(f"one of the actions {forms}", "another one in <action>")
        if phase == "confirm_answer":
            return ToolCall("submit", {"sql": found["answer"].strip()}, phase)
        if phase == "propose_schema":
            return ToolCall(phase, {"schema": _proposal(found["schema"])}, phase)
        tools = self._explorers if phase == "explore_schema" else ("execute_sql",)
        return replace(read_call(read_json(found["tool_call"]), tools), phase=phase)

    def write(self, call: ToolCall, thought: str = "") -> str:
        """Write a turn; a query without a phase is generate_sql."""
        phase = call.phase or _PHASES.get(call.tool, "explore_schema")
        if call.tool == "submit":
            payload = call.arguments["sql"]
        elif call.tool == "propose_schema":
            payload = _written(call.arguments["schema"])
        else:
            payload = write_call(call.tool, call.arguments)
        return _GRAMMAR.write(**{"think": thought, "action": phase, _PAYLOADS[phase]: payload})

    def review(self, call: ToolCall, result: ToolResult, history: Sequence[Turn]) -> ToolResult:
        """Answer a call that breaks the order of the phases; see the head of this module."""
        if call.phase == "explore_schema":
            broken = _explores_rows(call, result)
        elif call.phase in ("generate_sql", "confirm_answer"):
            broken = _breaks_order(call, result, history)
        else:
            broken = None
        if broken is None:
            return result
        outcome, said = broken
        if result.final:
            return replace(result, outcome=outcome, error=said)
        return ToolResult(f"Error: {said}", outcome, error=said)

    def observe(self, action: str, turn: Turn, remaining_turns: int) -> Message:
        """The result between ``<result>`` tags; the last turn but one says so."""
        return tagged_result(turn, remaining_turns, "give the answer with confirm_answer")

    @property
    def _explorers(self) -> tuple[str, ...]:
        return tuple(name for name in self.tools if name not in ("propose_schema", "submit"))


_PHASES = {
    "execute_sql": "generate_sql",
    "propose_schema": "propose_schema",
    "submit": "confirm_answer",
}

Broken = tuple[CallOutcome, str] | None
"""Which rule a call broke, and what its policy is told; None for no rule."""


def _explores_rows(call: ToolCall, result: ToolResult) -> Broken:
    if call.tool != "execute_sql" or result.table is None or not result.table.reads:
        return None
    return (
        CallOutcome.OUT_OF_PHASE,
        "explore_schema may query the catalogue only; queries on tables belong to generate_sql,"
        " after propose_schema",
    )


def _breaks_order(call: ToolCall, result: ToolResult, history: Sequence[Turn]) -> Broken:
    done = [turn for turn in history if turn.call is not None and turn.result.error is None]
    proposals = [turn.call for turn in done if turn.call and turn.call.tool == "propose_schema"]
    if not proposals:
        return (
            CallOutcome.NO_PROPOSAL,
            f"{call.phase} comes after propose_schema, and no schema was proposed yet",
        )
    if missing := _unproposed(call, result, parse_proposal(proposals[-1].arguments["schema"])):
        return (
            CallOutcome.UNPROPOSED,
            f"the query reads {one_line(missing, 200)}, which the latest proposal does not have",
        )
    generated = any(turn.call and turn.call.phase == "generate_sql" for turn in done)
    if call.phase == "confirm_answer" and not generated:
        return (
            CallOutcome.OUT_OF_PHASE,
            "confirm_answer comes after generate_sql, and no query was generated yet",
        )
    return None


def _unproposed(call: ToolCall, result: ToolResult, proposal: dict[str, tuple[str, ...]]) -> str:
    """The first table or column, in the order of the alphabet, that is read and not proposed."""
    if result.table is None:
        return ""
    named = names(call.arguments["sql"])
    for table, column in sorted(result.table.reads):
        if table.lower() not in named:
            continue  # read through a view, which has to be proposed itself
        columns = proposal.get(table.lower())
        if columns is None:
            return table
        if column not in ("", "ROWID") and column.lower() not in columns:
            return f"{table}.{column}"
    return ""


def _proposal(payload: str) -> str:
    """The proposal as the tool reads it, names in lower case; joins, which may be given, go."""
    schema = read_json(payload)
    given = schema if isinstance(schema, dict) else {}
    tables, columns = given.get("tables"), given.get("columns", {})
    if not (isinstance(columns, dict) and all(map(_texts, (tables, *columns.values())))):
        raise malformed(_A_SCHEMA, "another JSON value")
    found: dict[str, dict[str, None]] = {}
    for table in [*given["tables"], *columns]:
        kept = found.setdefault(table.lower(), {})
        kept.update(dict.fromkeys(name.lower() for name in columns.get(table, ())))
    if not found:
        raise malformed(_A_SCHEMA, "no table")
    parts = (
        f"{delimited(table)}({', '.join(map(delimited, kept))})" for table, kept in found.items()
    )
    return "; ".join(parts)


def _written(proposal: str) -> str:
    columns = {table: list(names_of) for table, names_of in parse_proposal(proposal).items()}
    return write_json({"tables": list(columns), "columns": columns})


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)

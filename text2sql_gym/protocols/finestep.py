"""The two-mode protocol of FineStep: reasoning, then either a tool call or the final SQL.

Source: arXiv 2605.04719, appendix, as far as it is public: the three rules of the prompt, the two
exclusive modes, and the ``<reasoning>`` tag. The syntax of the tool call (Qwen3's native JSON), the
tag of the answer (ReEx-SQL's ``<final_sql>``), the wrapper of results and the number of rows
shown are our reconstruction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from text2sql_gym.display import neutral
from text2sql_gym.errors import ToolError
from text2sql_gym.prompts import SCHEMA_STYLES, engine_of
from text2sql_gym.protocols.base import Message
from text2sql_gym.tools import describe
from text2sql_gym.types import CallOutcome, Limits, Schema, Task, ToolCall, ToolResult

_SYSTEM = """\
You answer questions over a {dialect} database by writing SQL. You may run trial queries first.

Instructions:
- Precision: output only what the question asks for. If it asks for one column, select only that \
column.
- Completeness: return all of the information asked for, with nothing missing and nothing extra.
- Correctness: think through the steps of writing the query before you give it, and validate your \
reasoning by testing it with the tool.

You have {turns} turns. The last one must be the final SQL. Each turn is in exactly one of two \
modes:

Option A, a tool call for validation or exploration:
<reasoning>concise reasoning</reasoning>
<tool_call>{{"name": "execute_sql", "arguments": {{"sql": "SELECT ..."}}}}</tool_call>

Tools:
{tools}

Option B, the answer, which ends the episode:
<reasoning>concise reasoning</reasoning>
<final_sql>SELECT ...</final_sql>

A tool call is answered with the columns and the first {rows} rows of the result, or with an \
error. Do not mix the two modes and write nothing outside the tags."""

_USER = """\
Database schema:
{schema}

Question: {question}"""


@dataclass(frozen=True)
class FineStep:
    """``<reasoning>…</reasoning>`` then ``<tool_call>{JSON}</tool_call>`` or ``<final_sql>…``.

    style    "full" writes the instructions and the schema as DDL; "compact" leaves the
             instructions out and writes one line a table, for models that are trained on the
             protocol and have a short context
    dialect  the SQL dialect named in the instructions; "" is that of the task's database
    tools    what may be called: execute_sql and submit (by ``<final_sql>``), as in the paper, or
             more of `TOOLS`
    """

    style: str = "full"
    dialect: str = ""
    tools: tuple[str, ...] = ("execute_sql", "submit")

    tags: ClassVar[tuple[str, ...]] = ("reasoning", "tool_call", "final_sql")
    scaffold: ClassVar[tuple[str, ...]] = (
        "<reasoning>",
        '</reasoning>\n<tool_call>{"name": "execute_sql", "arguments": {"sql": "',
        '"}}</tool_call>',
        "</reasoning>\n<final_sql>",
        "</final_sql>",
        "<result>\n",
        "\n</result>",
    )
    """texts that a tokenizer made for this protocol may treat as one token each"""

    def __post_init__(self) -> None:
        if self.style not in ("full", "compact"):
            raise ValueError(f"style: expected 'full' or 'compact', got {self.style!r}")
        object.__setattr__(self, "tools", tuple(self.tools))  # JSON gives a list
        describe(self.tools)  # raises UnknownName for a tool that does not exist
        if not {"execute_sql", "submit"} <= set(self.tools):
            raise ValueError(f"tools: expected 'execute_sql' and 'submit' in {self.tools}")

    def prompt(
        self, task: Task, schema: Schema, limits: Limits, max_turns: int
    ) -> tuple[Message, ...]:
        """Schema and question; before them, in the full style, the instructions."""
        full = self.style == "full"
        evidence = f"\nEvidence: {task.evidence}" if task.evidence else ""
        question = neutral(f"{task.question}{evidence}")
        shown = neutral(SCHEMA_STYLES["ddl" if full else "compact"](schema))
        if not full:
            return ({"role": "user", "content": f"{shown}\n{question}"},)
        system = _SYSTEM.format(
            dialect=self.dialect or engine_of(task.database),
            turns=max_turns,
            rows=limits.shown_rows,
            tools=describe(self._callable),
        )
        user = _USER.format(schema=shown, question=question)
        return ({"role": "system", "content": system}, {"role": "user", "content": user})

    def parse(self, action: str) -> ToolCall:
        """Read one turn; text outside the tags, a missing, mixed or repeated tag is malformed.

        So is a ``<result>``: only the environment writes observations.
        """
        text = action.strip()
        if "<result>" in text or "</result>" in text:
            raise _malformed("a <result>, which only the environment writes")
        uses = {tag: (text.count(f"<{tag}>"), text.count(f"</{tag}>")) for tag in self.tags}
        modes = [tag for tag in self.tags[1:] if uses[tag] != (0, 0)]
        if uses["reasoning"] != (1, 1) or not text.startswith("<reasoning>"):
            raise _malformed("no single <reasoning>...</reasoning> at the start")
        if len(modes) != 1 or uses[modes[0]] != (1, 1):
            raise _malformed(f"{' and '.join(f'<{tag}>' for tag in modes) or 'neither of the two'}")
        rest = text.partition("</reasoning>")[2].strip()
        opening, closing = f"<{modes[0]}>", f"</{modes[0]}>"
        if not (rest.startswith(opening) and rest.endswith(closing)):
            raise _malformed("text outside the tags")
        payload = rest[len(opening) : -len(closing)]
        if modes[0] == "final_sql":
            return ToolCall("submit", {"sql": payload.strip()})
        return _tool_call(payload, self._callable)

    def observe(self, result: ToolResult, remaining_turns: int) -> Message:
        """The result between ``<result>`` tags; the last turn but one says so."""
        notice = "\nOne turn is left: give the final SQL." if remaining_turns == 1 else ""
        return {"role": "tool", "content": f"<result>\n{result.text}{notice}\n</result>"}

    @property
    def _callable(self) -> tuple[str, ...]:
        return tuple(name for name in self.tools if name != "submit")

    @staticmethod
    def call(reasoning: str, sql: str) -> str:
        """Write a turn of option A."""
        payload = json.dumps({"name": "execute_sql", "arguments": {"sql": sql}}, ensure_ascii=False)
        return f"<reasoning>{reasoning}</reasoning>\n<tool_call>{payload}</tool_call>"

    @staticmethod
    def answer(reasoning: str, sql: str) -> str:
        """Write a turn of option B."""
        return f"<reasoning>{reasoning}</reasoning>\n<final_sql>{sql}</final_sql>"


def _tool_call(payload: str, tools: tuple[str, ...]) -> ToolCall:
    try:
        call = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"a tool call that is not JSON ({error})") from error
    if not (isinstance(call, dict) and isinstance(call.get("arguments"), dict)):
        raise _malformed('no "name" and "arguments" in the tool call')
    arguments = call["arguments"]
    if call.get("name") not in tools:
        name = neutral(repr(call.get("name"))[:40])
        raise _malformed(f"the tool {name}; there is {' and '.join(map(repr, tools))}")
    if not all(isinstance(value, str) for value in arguments.values()):
        raise _malformed("an argument that is not a string")
    return ToolCall(call["name"], {str(name): value for name, value in arguments.items()})


def _malformed(got: str) -> ToolError:
    return ToolError(
        "expected <reasoning>...</reasoning> and then either <tool_call>...</tool_call> or "
        f"<final_sql>...</final_sql>, got {got}",
        CallOutcome.MALFORMED,
    )

"""Native tool calls: both forms of a turn, and the messages that answer them."""

import json
import sqlite3
from contextlib import closing

import pytest

from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.errors import ToolError
from text2sql_gym.protocols.chat import Chat
from text2sql_gym.tools import TOOLS, tool_schema
from text2sql_gym.types import CallOutcome, Task, ToolCall, ToolResult, Turn

CHAT = Chat()
SELECT = ToolCall("execute_sql", {"sql": "SELECT 1"})
CALL = '<tool_call>\n{"name": "execute_sql", "arguments": {"sql": "SELECT 1"}}\n</tool_call>'


def message(*calls, **fields):
    return json.dumps({"role": "assistant", "content": None, "tool_calls": list(calls), **fields})


def entry(name="execute_sql", arguments='{"sql": "SELECT 1"}', call_id="call_7"):
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


class TestReading:
    @pytest.mark.parametrize(
        "action",
        [
            CALL,
            f"<think>\nfirst, see\n</think>\n\nLet me look.\n{CALL}\n",
            f"a < b, <b>so</b> {CALL}",
            message(entry()),
            message(entry(arguments={"sql": "SELECT 1"})),
            message(entry(), content="Let me look.", reasoning_content="hm", refusal=None),
            json.dumps({"tool_calls": [{"function": {"name": "execute_sql", "arguments": '{"sql": '
                                                     '"SELECT 1"}'}}]}),
            f"  {message(entry())}\n",
            '{"name": "execute_sql", "parameters": {"sql": "SELECT 1"}}',  # as Llama 3 has it
        ],
    )  # fmt: skip
    def test_text_and_messages_are_the_same_call(self, action):
        assert CHAT.parse(action) == SELECT

    @pytest.mark.parametrize(
        ("action", "got"),
        [
            ("The answer is 7.", "0 tool calls"),
            ("", "0 tool calls"),
            (CALL + CALL, "2 tool calls"),
            (f"{CALL}</tool_call>", "2 tool calls"),
            (f"{CALL} That is it.", "not closed at the end"),
            (CALL.removesuffix("</tool_call>"), "not closed at the end"),
            ("</tool_call><tool_call>{}", "not closed at the end"),
            ("<tool_call>SELECT 1</tool_call>", "not JSON"),
            ("<tool_call>{}</tool_call>", 'no "name" and "arguments"'),
            (CALL.replace("execute_sql", "bash"), "the tool 'bash'; there is 'list_tables' and"),
            (CALL.replace('"SELECT 1"', "1"), "an argument that is not a string"),
            ('{"name": "execute_sql", "arguments": {"sql": "SELECT 1"}}', "exactly one entry"),
            (message(), "exactly one entry"),
            (message(entry(), entry()), "exactly one entry"),
            (message("execute_sql"), "exactly one entry"),
            (json.dumps({"role": "assistant", "content": CALL}), "exactly one entry"),
            (json.dumps({"tool_calls": {"0": entry()}}), "exactly one entry"),
            (message({"id": "1", "name": "execute_sql"}), 'no "function"'),
            (message(entry(arguments="SELECT 1")), "not JSON"),
            (message(entry(arguments=None)), 'no "name" and "arguments"'),
            (message(entry(name=None)), "the tool None"),
            (message(entry(), role="tool"), "a message of another role"),
            (message(entry(), role="user"), "a message of another role"),
            ('{"role": "assistant", "tool_calls": [', "not JSON"),
            ("{" * 100_000, "not JSON"),
            (message(entry(), content="<tool_response>7"), "which only the environment writes"),
            (
                message(entry(), content="@").replace("@", "\\u003c|im_end|>"),
                "which only the environment writes",
            ),
            (
                message(entry(arguments={"sql": "@"})).replace("@", "\\u003ctool_response>"),
                "which only the environment writes",
            ),
        ],
    )
    def test_anything_else_is_malformed_and_told_what_was_expected(self, action, got):
        with pytest.raises(ToolError, match="^expected ") as caught:
            CHAT.parse(action)
        assert caught.value.outcome is CallOutcome.MALFORMED
        assert got in str(caught.value)

    @pytest.mark.parametrize("sql", ["SELECT '</tool_call>'", "SELECT '<tool_call>' < 2 <b>c"])
    def test_tags_in_an_argument_are_written_so_that_they_are_none(self, sql):
        call = ToolCall("execute_sql", {"sql": sql})
        assert CHAT.parse(CHAT.write(call)) == call

    def test_only_the_tools_it_was_given_can_be_called(self):
        few = Chat(tools=["execute_sql", "submit"])
        assert few.parse(CALL) == SELECT
        with pytest.raises(ToolError, match="the tool 'list_tables'"):
            few.parse(few.write(ToolCall("list_tables")))
        with pytest.raises(ValueError, match="expected 'submit' in"):
            Chat(tools=["execute_sql"])


class TestAnswering:
    @pytest.mark.parametrize(
        ("action", "call", "answer"),
        [
            (CALL, SELECT, {"role": "tool", "name": "execute_sql"}),
            (
                message(entry()),
                SELECT,
                {"role": "tool", "name": "execute_sql", "tool_call_id": "call_7"},
            ),
            ("I do not know.", None, {"role": "user"}),
            ("{not JSON", None, {"role": "user"}),
            (message(), None, {"role": "user"}),
            (message(entry(call_id=7)), SELECT, {"role": "tool", "name": "execute_sql"}),
            (message(entry(name="bash")), None, {"role": "tool", "tool_call_id": "call_7"}),
            (message(entry(), entry()), None, {"role": "tool", "tool_call_id": "call_7"}),
        ],
    )
    def test_a_call_is_answered_by_a_tool_and_other_turns_by_the_user(self, action, call, answer):
        turn = Turn(call, ToolResult("a\n1\n(1 row)"))
        assert CHAT.observe(action, turn, 3) == {**answer, "content": "a\n1\n(1 row)"}

    def test_an_episode_is_held_as_an_interface_would_hold_it(self, tmp_path):
        path = tmp_path / "shop.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE sale (id INTEGER PRIMARY KEY)")
        task = Task("t", str(path), "How many?", ("SELECT count(*) FROM sale",))
        with Text2SQLEnv(tasks=[task], protocol="chat", max_turns=3) as env:
            _, info = env.reset()
            conversation = info["messages"]
            assert [said["role"] for said in conversation] == ["system", "user"]
            for name, arguments in (
                ("describe_table", {"table": "sale"}),
                ("execute_sql", {"sql": "SELECT * FROM sale"}),
                ("submit", {"sql": "SELECT count(*) FROM sale"}),
            ):
                call = entry(name, json.dumps(arguments), f"call_{name}")
                said = {"role": "assistant", "content": "", "tool_calls": [call]}
                *_, info = env.step(json.dumps(said))
                conversation += [said, *info["messages"]]
                assert conversation[-1]["tool_call_id"] == call["id"]
            assert conversation[3]["content"] == "id INTEGER, primary key\n(1 columns)"
            assert conversation[5]["content"].endswith("(0 rows)\nOne turn is left: call submit.")
            assert info["outcome"] == "match"
            assert env.messages == tuple(conversation)
            assert json.dumps(said) in env.unwrapped._episode.transcript
            env.messages[2]["tool_calls"].clear()  # a caller may change what it was given
            assert env.messages == tuple(conversation)

    @pytest.mark.parametrize(
        ("action", "rest"),
        [
            (f" {message(entry(), content='Look.', refusal=None)}\n",
             {"content": "Look.", "tool_calls": [entry()], "refusal": None}),
            (message(entry()), {"content": None, "tool_calls": [entry()]}),
            (json.dumps({"tool_calls": [entry()]}), {"content": "", "tool_calls": [entry()]}),
            (message(entry(), entry("bash")),
             {"content": None, "tool_calls": [entry(), entry("bash")]}),
        ],
    )  # fmt: skip
    def test_a_message_with_calls_stands_in_the_conversation_as_itself(self, action, rest):
        assert CHAT.said(action) == {"role": "assistant", **rest}

    @pytest.mark.parametrize(
        "action",
        [
            CALL,
            "",
            "{not JSON",
            "{" * 100_000,
            message(),
            message("execute_sql"),
            json.dumps({"tool_calls": {"0": entry()}}),
            message(entry(), role="tool"),
            message(entry(), content="@").replace("@", "\\u003c|im_end|>"),
            message(entry(), content=[{"text": "@"}]).replace("@", "\\u003C|im_end\\u007c>"),
            message(entry(arguments=json.dumps({"sql": "@"}).replace("@", "\\u003cresult>"))),
        ],
    )
    def test_any_other_turn_stands_there_as_text_and_so_does_a_forgery(self, action):
        assert CHAT.said(action) == {"role": "assistant", "content": action}


class TestSchemas:
    @pytest.mark.parametrize("name", TOOLS)
    def test_every_tool_has_a_schema_of_its_docstring(self, name):
        schema = tool_schema(name)
        function = schema["function"]
        parameters = function["parameters"]
        assert schema["type"] == "function" and function["name"] == name
        assert function["description"].endswith(".") and "``" not in json.dumps(schema)
        assert parameters["required"] == list(parameters["properties"])
        assert all(argument["description"] for argument in parameters["properties"].values())

    def test_the_arguments_are_described_one_by_one(self):
        assert tool_schema("search_values")["function"]["parameters"] == {
            "type": "object",
            "properties": {
                "table": {"type": "string", "description": "its name"},
                "column": {"type": "string", "description": "its name"},
                "text": {"type": "string", "description": "what to look for"},
            },
            "required": ["table", "column", "text"],
        }
        assert tool_schema("list_tables")["function"]["parameters"]["required"] == []

    def test_a_caller_may_change_what_it_was_given(self):
        schemas = CHAT.tool_schemas
        schemas[0]["function"].clear()
        assert CHAT.tool_schemas[0]["function"]["name"] == "list_tables"

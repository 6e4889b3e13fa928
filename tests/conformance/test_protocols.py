"""Laws of every protocol in `PROTOCOLS`: a new entry is tested by standing there."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text2sql_gym.errors import ToolError
from text2sql_gym.protocols import PROTOCOLS
from text2sql_gym.tools import TOOLS
from text2sql_gym.types import (
    CallOutcome,
    Column,
    Limits,
    TableSchema,
    Task,
    ToolCall,
    ToolResult,
    Turn,
)

SCHEMA = (TableSchema("sale", (Column("id", "INTEGER", primary_key=True), Column("city", "TEXT"))),)
TASK = Task("t", "shop.sqlite", "How many sales?", gold_sql=("SELECT secret FROM gold",))
TAGS = ["<reasoning>", "</think>", "<tool_call>", "</final_sql>", "<result>", "<sql>", "{", "<|"]


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    return PROTOCOLS[request.param]()


class TestEveryProtocol:
    def test_calls_tools_that_exist_and_can_submit(self, protocol):
        assert set(protocol.tools) <= set(TOOLS)
        assert "submit" in protocol.tools

    def test_begins_with_messages_that_hold_the_question_and_not_the_gold(self, protocol):
        messages = protocol.prompt(TASK, SCHEMA, Limits(), 5)
        assert messages == protocol.prompt(TASK, SCHEMA, Limits(), 5)
        assert messages[-1]["role"] == "user"
        assert all(set(message) == {"role", "content"} for message in messages)
        text = "\n".join(message["content"] for message in messages)
        assert TASK.question in text
        assert "secret" not in text and TASK.database not in text

    def test_answers_with_a_message_that_holds_the_result(self, protocol):
        turn = Turn(ToolCall("execute_sql", {"sql": "SELECT 1"}), ToolResult("a\n1\n(1 row)"))
        message = protocol.observe("", turn, 3)
        assert message["role"] != "assistant" and "a\n1\n(1 row)" in message["content"]

    def test_reads_every_text_as_a_call_of_its_own_tools_or_as_malformed(self, protocol):
        @settings(deadline=None, max_examples=150)
        @given(st.text(max_size=60) | st.lists(st.sampled_from(TAGS), max_size=9).map("".join))
        def check(action):
            try:
                call = protocol.parse(action)
            except ToolError as error:
                assert error.outcome is CallOutcome.MALFORMED
                assert len(str(error)) < 1_000
                str(error).encode()
            else:
                assert call.tool in protocol.tools
                assert {type(text) for text in call.arguments.values()} <= {str}

        check()

    @pytest.mark.parametrize("piece", [*TAGS, "<", "x", " ", "\n", "[", "</reasoning><tool_call>"])
    def test_reads_a_megabyte_in_linear_time(self, protocol, piece):
        # a quadratic parser would need hours for these
        with pytest.raises(ToolError):
            protocol.parse(piece * (1_000_000 // len(piece)))

    def test_is_a_value(self, protocol):
        assert pickle.loads(pickle.dumps(protocol)) == protocol == type(protocol)()
        assert hash(protocol) == hash(type(protocol)())

    def test_says_what_it_is(self, protocol):
        assert "dataclass" not in (type(protocol).__doc__ or "").lower()
        assert len(type(protocol).__doc__ or "") > 80

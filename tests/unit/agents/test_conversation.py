"""Episodes in text: scripts and a model behind a real HTTP server."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from agents.conversation import Conversations, converse, endpoint, scripted
from agents.policies.endpoint import Endpoint, EndpointError
from agents.policies.scripted import SCRIPTS
from agents.types import Ended
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.types import ToolCall

CALL = FineStep.call("look", "SELECT * FROM city")
ANSWER = FineStep.answer("done", "SELECT COUNT(*) FROM city")


def completion(text, *, tokens=7, reason="stop"):
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return 200, {"choices": [choice], "usage": {"completion_tokens": tokens}}


class Server:
    """Answers requests by a function of their number and body; keeps what it was asked."""

    def __init__(self, reply):
        asked, lock = [], threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    asked.append((self.path, dict(self.headers), body))
                    place = len(asked) - 1
                code, answer = reply(place, body)
                data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        self.asked = asked
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def serve():
    servers = []

    def start(reply):
        servers.append(Server(reply))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def ask(server, **options):
    begin = endpoint(Endpoint(server.url, "tiny", pause=0.0, **options))
    return lambda env, seed=0: converse(env, begin, "shop/0", 0.5, seed)


def test_an_endpoint_hears_the_whole_conversation_and_its_answer_is_judged(serve, make_env):
    server = serve(lambda place, body: completion((CALL, ANSWER)[place]))
    with make_env() as env:
        attempt = ask(server, key="secret", max_tokens=50)(env, seed=2**40 + 5)
    assert (attempt.outcome, attempt.ended) == ("match", Ended.SUBMITTED)
    assert [len(step.completion.token_ids) for step in attempt.steps] == [7, 7]
    path, headers, body = server.asked[1]
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret"
    assert body["model"] == "tiny" and body["max_tokens"] == 50 and body["temperature"] == 0.5
    assert body["seed"] == 5
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["user", "assistant", "user"]  # a tool's answer is sent as the user's
    assert body["messages"][1]["content"] == CALL
    assert "Oslo" in body["messages"][2]["content"]


def calling(*calls, content=None):
    message = {"role": "assistant", "content": content, "tool_calls": list(calls)}
    return 200, {"choices": [{"message": message, "finish_reason": "tool_calls"}]}


def native(name, arguments, call_id="c1"):
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


LOOK = native("execute_sql", '{"sql": "SELECT * FROM city"}', "c1")
SUBMIT = native("submit", '{"sql": "SELECT COUNT(*) FROM city"}', "c2")


class TestNativeTools:
    @pytest.fixture
    def chat_env(self, tasks):
        with Text2SQLEnv(tasks=tasks, protocol="chat") as env:
            yield env

    def test_calls_and_answers_are_sent_as_an_endpoint_knows_them(self, serve, chat_env):
        replies = (calling(LOOK, content="let me look"), calling(SUBMIT))
        server = serve(lambda place, body: replies[place])
        attempt = ask(server)(chat_env)
        assert (attempt.outcome, [step.tool for step in attempt.steps]) == (
            "match", ["execute_sql", "submit"],
        )  # fmt: skip
        *_, body = server.asked[1]
        assert body["tools"] == list(chat_env.protocol.tool_schemas)
        assert body["parallel_tool_calls"] is False
        system, user, said, heard = body["messages"]
        assert (system["role"], user["role"]) == ("system", "user")
        assert said == {"role": "assistant", "content": "let me look", "tool_calls": [LOOK]}
        assert (heard["role"], heard["tool_call_id"]) == ("tool", "c1")
        assert "Oslo" in heard["content"]

    def test_of_two_calls_the_first_is_sent_back_and_answered(self, serve, chat_env):
        replies = (calling(LOOK, SUBMIT), calling(SUBMIT))
        server = serve(lambda place, body: replies[place])
        attempt = ask(server)(chat_env)
        assert [step.call_outcome for step in attempt.steps] == ["malformed", "ok"]
        *_, said, heard = server.asked[1][2]["messages"]
        assert said["tool_calls"] == [LOOK]
        assert (heard["role"], heard["tool_call_id"]) == ("tool", "c1")

    @pytest.mark.parametrize(
        "broken", [native("execute_sql", "{not json"), native("execute_sql", "[]"), {"id": "c1"}]
    )
    def test_a_call_that_a_server_may_fail_to_read_is_sent_back_as_text(
        self, serve, chat_env, broken
    ):
        replies = (calling(broken), calling(SUBMIT))
        server = serve(lambda place, body: replies[place])
        attempt = ask(server)(chat_env)
        assert [step.call_outcome for step in attempt.steps] == ["malformed", "ok"]
        *_, said, heard = server.asked[1][2]["messages"]
        assert "tool_calls" not in said and isinstance(said["content"], str)
        assert heard["role"] == "user"

    def test_a_model_that_writes_its_calls_as_text_is_answered_by_the_user(self, serve, chat_env):
        text = chat_env.protocol.write(ToolCall("execute_sql", {"sql": "SELECT 1"}))
        replies = (completion(text), calling(SUBMIT))
        server = serve(lambda place, body: replies[place])
        assert ask(server)(chat_env).outcome == "match"
        *_, said, heard = server.asked[1][2]["messages"]
        assert said == {"role": "assistant", "content": text} and heard["role"] == "user"

    def test_other_protocols_send_no_tools(self, serve, make_env):
        server = serve(lambda place, body: completion(ANSWER))
        with make_env() as env:
            ask(server)(env)
        assert "tools" not in server.asked[0][2]


def test_without_a_key_no_key_is_sent_and_with_one_it_is_never_shown(serve, make_env):
    server = serve(lambda place, body: completion(ANSWER))
    with make_env() as env:
        ask(server)(env)
    assert "Authorization" not in server.asked[0][1]
    assert "secret" not in repr(Endpoint(server.url, "tiny", key="secret"))


def test_a_turn_that_was_cut_ends_the_attempt(serve, make_env):
    server = serve(lambda place, body: completion(CALL[:-5], reason="length"))
    with make_env() as env:
        attempt = ask(server)(env)
    assert attempt.ended is Ended.TOKEN_LIMIT and len(attempt.steps) == 1


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"code": "context_length_exceeded"}},
        {"message": "This model's maximum context length is 4096 tokens."},
    ],
)
def test_messages_that_exceed_the_context_end_the_attempt(serve, make_env, said):
    server = serve(lambda place, body: completion(CALL) if place == 0 else (400, said))
    with make_env() as env:
        attempt = ask(server)(env)
    assert attempt.ended is Ended.TOKEN_LIMIT and len(attempt.steps) == 1


def test_a_busy_server_is_asked_again(serve, make_env):
    server = serve(lambda place, body: (503, "busy") if place < 2 else completion(ANSWER))
    with make_env() as env:
        assert ask(server)(env).outcome == "match"
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("reply", "expected", "asked"),
    [
        ((429, "slow down"), r"answered 429: slow down \(2 tries\)", 2),
        ((401, "who are you?"), "answered 401: who are you", 1),
        ((400, "no such model"), "answered 400: no such model", 1),
        ((200, "<html>"), "what is not JSON: <html>", 1),
        ((200, {"choices": []}), r"expected choices\[0\].message.content, got", 1),
        ((200, []), r"expected choices\[0\].message.content, got \[\]", 1),
    ],
)
def test_what_is_no_completion_is_an_error_that_says_so(serve, make_env, reply, expected, asked):
    server = serve(lambda place, body: reply)
    with make_env() as env, pytest.raises(EndpointError, match=expected):
        ask(server, tries=2)(env)
    assert len(server.asked) == asked


def test_a_server_that_is_not_there_is_an_error_that_names_it(make_env):
    server = Server(lambda place, body: completion(ANSWER))
    server.close()
    with make_env() as env, pytest.raises(EndpointError, match="cannot be reached"):
        ask(server, tries=2)(env)


def test_an_empty_answer_is_a_malformed_turn(serve, make_env):
    server = serve(lambda place, body: completion((None, ANSWER)[place]))
    with make_env() as env:
        attempt = ask(server)(env)
    assert [step.call_outcome for step in attempt.steps] == ["malformed", "ok"]


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://there", ""])
def test_an_endpoint_without_http_is_refused(url):
    with pytest.raises(ValueError, match="http://"):
        Endpoint(url, "tiny")


def test_groups_come_back_in_order_whatever_ends_first(serve, make_env, tasks):
    server = serve(lambda place, body: completion(ANSWER, tokens=body["seed"]))
    conversations = Conversations(make_env, endpoint(Endpoint(server.url, "tiny")), workers=4)
    ids, done = [task.task_id for task in tasks], []
    groups = conversations.collect(ids, 3, 1.0, 0, lambda: done.append(1))
    conversations.close()
    assert [group.task_id for group in groups] == ids and len(done) == 15
    seeds = [len(a.steps[0].completion.token_ids) for group in groups for a in group.attempts]
    assert seeds == list(range(15))
    assert all(a.task_id == group.task_id for group in groups for a in group.attempts)


def test_an_error_in_one_episode_is_raised(serve, make_env, tasks):
    server = serve(lambda place, body: (401, "no"))
    conversations = Conversations(make_env, endpoint(Endpoint(server.url, "tiny")), workers=2)
    with pytest.raises(EndpointError):
        conversations.collect([task.task_id for task in tasks], 1, 0.0, 0)
    conversations.close()


def test_the_gold_script_is_right_and_the_analyst_is_reproducible(make_env, tasks):
    ids = [task.task_id for task in tasks]
    conversations = Conversations(make_env, scripted(SCRIPTS["gold"]), workers=2)
    groups = conversations.collect(ids, 1, 0.0, 0)
    conversations.close()
    assert [group.attempts[0].outcome for group in groups] == ["match"] * len(ids)
    analyst = Conversations(make_env, scripted(SCRIPTS["analyst"]), workers=2)
    assert analyst.collect(ids, 2, 0.0, 3) == analyst.collect(ids, 2, 0.0, 3)
    assert analyst.collect(ids, 2, 0.0, 3) != analyst.collect(ids, 2, 0.0, 4)
    analyst.close()


def test_a_script_that_falls_silent_has_reached_its_last_step(make_env):
    with make_env() as env:
        attempt = converse(env, scripted(lambda *_: [CALL]), "shop/0", 0.0, 0)
    assert attempt.ended is Ended.STEP_LIMIT and attempt.outcome == "no_submission"


def test_conversations_need_a_worker(make_env):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Conversations(make_env, scripted(SCRIPTS["gold"]), workers=0)

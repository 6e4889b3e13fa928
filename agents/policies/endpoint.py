"""A model behind an OpenAI-compatible chat endpoint, to be evaluated; it cannot be trained."""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.types import Completion
from text2sql_gym.errors import Text2SQLError
from text2sql_gym.protocols import Message

logger = logging.getLogger(__name__)

_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_LONGEST_ANSWER = 8_000_000  # bytes


class EndpointError(Text2SQLError):
    """The endpoint could not be asked, or answered what is no chat completion."""


@dataclass(frozen=True)
class Endpoint:
    """``POST {url}/chat/completions``, as vLLM, llama.cpp, Ollama and hosted services serve it.

    url         the base, as in ``http://localhost:8000/v1``
    model       the name the server knows the model by
    key         sent as bearer token, if any; it is never shown or written
    max_tokens  tokens of one turn
    seconds     patience per request
    tries       requests per turn where the connection fails or the server asks to come back
    pause       seconds before the second try; doubled before each further one
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    max_tokens: int = 1_024
    seconds: float = 300.0
    tries: int = 5
    pause: float = 1.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url: expected http:// or https://, got {self.url!r}")
        if self.tries < 1 or self.max_tokens < 1:
            raise ValueError(f"expected tries and max_tokens of at least 1, got {self}")

    def complete(
        self,
        messages: Sequence[Message],
        temperature: float,
        seed: int,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Completion | None:
        """Ask for the next turn; None when the messages exceed the model's context.

        `tools` are JSON schemas, sent as they are. A turn that calls one comes as the assistant's
        message in JSON, which the protocol "chat" reads, and is sent back as that message.
        Messages of the role "tool" are sent as such where they answer a call that was sent, and
        else as the user's, since an endpoint accepts no others. The ids of the completion are -1,
        as many as the server says were sampled (none where it does not say), with
        log-probabilities 0.

        Raises `EndpointError` with the server's answer when it refuses, or after `tries` tries.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": _spoken(messages),
            "temperature": temperature,
            "seed": seed % 2**31,
            "max_tokens": self.max_tokens,
        }
        if tools:
            body |= {"tools": list(tools), "parallel_tool_calls": False}
        for attempt in range(self.tries):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                return _completion(self._post(body))
            except urllib.error.HTTPError as error:
                said = error.read(2_000).decode("utf-8", "replace")
                if _too_long(error.code, said):
                    return None
                problem = f"{self.url} answered {error.code}: {said}"
                if error.code not in _AGAIN:
                    raise EndpointError(problem) from error
            except OSError as error:
                problem = f"{self.url} cannot be reached: {error}"
            logger.warning("%s", problem)
        raise EndpointError(f"{problem} ({self.tries} tries)")

    def _post(self, body: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {self.key}"} if self.key else {}),
        )
        with urllib.request.urlopen(request, timeout=self.seconds) as answer:
            text = answer.read(_LONGEST_ANSWER).decode("utf-8", "replace")
        try:
            return json.loads(text)
        except ValueError as error:
            raise EndpointError(f"{self.url} answered what is not JSON: {text[:200]}") from error


def _spoken(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The conversation as an endpoint takes it."""
    spoken: list[dict[str, Any]] = []
    asked = ""  # the id of the call that waits for an answer
    for message in messages:
        role, content = message["role"], message["content"]
        calling = _calling(content) if role == "assistant" else None
        if calling is not None:
            spoken.append(calling)
            asked = calling["tool_calls"][0]["id"]
        elif role == "tool" and asked and message.get("tool_call_id") == asked:
            spoken.append({"role": role, "content": content, "tool_call_id": asked})
        else:
            spoken.append({"role": "user" if role == "tool" else role, "content": content})
    return spoken


def _calling(turn: str) -> dict[str, Any] | None:
    """A turn that `_text` wrote, with its first call alone: the only one that is answered.

    None where a server may fail to read the call, as several do on arguments that are no JSON;
    then the turn is sent as text.
    """
    if not turn.startswith("{"):
        return None
    try:
        message: dict[str, Any] = json.loads(turn)
        call = message["tool_calls"][0]
        arguments = json.loads(call["function"]["arguments"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    sound = isinstance(arguments, dict) and isinstance(call.get("id"), str)
    return {**message, "tool_calls": [call]} if sound else None


def _text(message: Mapping[str, Any]) -> str:
    """An answer as a turn: its text, or the whole message where there are calls in it.

    Raises TypeError for content that is no text.
    """
    content = message["content"] or ""
    if not isinstance(content, str):
        raise TypeError("the content is not text")
    calls = message.get("tool_calls")
    if not calls:
        return content
    return json.dumps({"role": "assistant", "content": content, "tool_calls": calls})


def _too_long(code: int, said: str) -> bool:
    """Whether a refusal says that the prompt exceeds the context (OpenAI, vLLM, llama.cpp)."""
    words = ("context_length_exceeded", "maximum context length", "exceed_context_size")
    return code == 400 and any(word in said for word in words)


def _completion(answer: Any) -> Completion:
    try:
        choice = answer["choices"][0]
        text = _text(choice["message"])
        stopped = choice.get("finish_reason") != "length"
        sampled = int((answer.get("usage") or {}).get("completion_tokens") or 0)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        expected = "expected choices[0].message.content"
        raise EndpointError(f"{expected}, got {json.dumps(answer)[:200]}") from error
    return Completion((-1,) * sampled, (0.0,) * sampled, text, stopped)

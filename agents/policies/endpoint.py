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
        self, messages: Sequence[Message], temperature: float, seed: int
    ) -> Completion | None:
        """Ask for the next turn; None when the messages exceed the model's context.

        Messages of the role "tool" are sent as the user's, since an endpoint accepts the former
        only as an answer to a call in its own syntax. The ids of the completion are -1, as many
        as the server says were sampled (none where it does not say), with log-probabilities 0.

        Raises `EndpointError` with the server's answer when it refuses, or after `tries` tries.
        """
        body = {
            "model": self.model,
            "messages": [_spoken(message) for message in messages],
            "temperature": temperature,
            "seed": seed % 2**31,
            "max_tokens": self.max_tokens,
        }
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


def _spoken(message: Message) -> Message:
    role = "user" if message["role"] == "tool" else message["role"]
    return {"role": role, "content": message["content"]}


def _too_long(code: int, said: str) -> bool:
    """Whether a refusal says that the prompt exceeds the context (OpenAI, vLLM, llama.cpp)."""
    words = ("context_length_exceeded", "maximum context length", "exceed_context_size")
    return code == 400 and any(word in said for word in words)


def _completion(answer: Any) -> Completion:
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"] or ""
        stopped = choice.get("finish_reason") != "length"
        sampled = int((answer.get("usage") or {}).get("completion_tokens") or 0)
        if not isinstance(text, str):
            raise TypeError("the content is not text")
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        expected = "expected choices[0].message.content"
        raise EndpointError(f"{expected}, got {json.dumps(answer)[:200]}") from error
    return Completion((-1,) * sampled, (0.0,) * sampled, text, stopped)

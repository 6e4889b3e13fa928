"""What protocols of tags share: reading a turn in linear time, and what a model may not write."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from text2sql_gym.display import BRACKETED_TOKENS, neutral
from text2sql_gym.errors import ToolError
from text2sql_gym.types import CallOutcome, ToolCall

_OBSERVATIONS = ("<result>", "</result>", "<tool_response>", "</tool_response>")
_CHAT_TOKEN = re.compile(r"<\|[^<>|]{1,40}+\|>|<\uff5c[^<>\uff5c]{1,40}+\uff5c>")
_A_CALL = '<tool_call>{"name": ..., "arguments": {...}}</tool_call> with texts for arguments'
_TAG = re.compile(r"<(?=/?\w+\s*+>|[|\uff5c])")


def forged(text: str) -> str:
    """What `text` holds that only the environment or a chat template writes; "" for nothing.

    That is a ``<result>`` or ``<tool_response>``, and chat tokens: an assistant's turn that holds
    ``<|im_end|>`` or ``[/INST]`` would end early in a rendered conversation, and say the rest as
    someone else.
    """
    if any(tag in text for tag in _OBSERVATIONS):
        return "a <result>, which only the environment writes"
    closed = "|>" in text or "\uff5c>" in text  # spares most texts the slower search
    bracketed = "[" in text and "]" in text and any(token in text for token in BRACKETED_TOKENS)
    if bracketed or (closed and _CHAT_TOKEN.search(text)):
        return "a chat token, which only the environment writes"
    return ""


@dataclass(frozen=True)
class Grammar:
    """A turn is ``<a>...</a>`` for each tag of `lead` and then one ``<b>...</b>`` of `modes`.

    Each tag occurs at most once in a turn, and nothing but white space stands outside the tags.
    Read by counting tags and slicing: linear in the length of the text.
    """

    lead: tuple[str, ...]
    modes: tuple[str, ...]

    @cached_property
    def _tags(self) -> tuple[tuple[str, str, str], ...]:
        return tuple((tag, f"<{tag}>", f"</{tag}>") for tag in (*self.lead, *self.modes))

    def read(self, action: str) -> dict[str, str]:
        """Return what stands in each tag, the mode's last. Raises `ToolError` (malformed)."""
        rest = action.strip()
        if forgery := forged(rest):
            raise self.malformed(forgery)
        uses = {tag: (rest.count(opening), rest.count(end)) for tag, opening, end in self._tags}
        found: dict[str, str] = {}
        place = "at the start"
        for tag in self.lead:
            if uses[tag] != (1, 1) or not rest.startswith(f"<{tag}>"):
                raise self.malformed(f"no single <{tag}>...</{tag}> {place}")
            found[tag], _, rest = rest.removeprefix(f"<{tag}>").partition(f"</{tag}>")
            rest, place = rest.strip(), f"after </{tag}>"
        modes = [tag for tag in self.modes if uses[tag] != (0, 0)]
        if len(modes) != 1 or uses[modes[0]] != (1, 1):
            raise self.malformed(" and ".join(f"<{tag}>" for tag in modes) or "none of these")
        opening, closing = f"<{modes[0]}>", f"</{modes[0]}>"
        if not (rest.startswith(opening) and rest.endswith(closing)):
            raise self.malformed("text outside the tags")
        return {**found, modes[0]: rest[len(opening) : -len(closing)]}

    def write(self, **payloads: str) -> str:
        """Write a turn from what stands in each tag, in the order given."""
        return "\n".join(f"<{tag}>{payload}</{tag}>" for tag, payload in payloads.items())

    def malformed(self, got: str) -> ToolError:
        """Say what a turn looks like, and what was found instead."""
        lead = " and then ".join(f"<{tag}>...</{tag}>" for tag in self.lead)
        modes = " or ".join(f"<{tag}>...</{tag}>" for tag in self.modes)
        return malformed(f"{lead} and then either {modes}", got)


def malformed(expected: str, got: str) -> ToolError:
    """The error of a turn that is no turn of the protocol."""
    return ToolError(f"expected {expected}, got {got}", CallOutcome.MALFORMED)


def read_json(text: str) -> Any:
    """Return a JSON value. Raises `ToolError` (malformed) for any other text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise malformed(_A_CALL, f"a text that is not JSON ({error})") from error


def read_call(payload: object, tools: tuple[str, ...]) -> ToolCall:
    """Return the call of ``{"name": ..., "arguments": {...}}`` to one of `tools`.

    Raises `ToolError` (malformed), also for arguments that hide a forgery behind JSON's escapes.
    """
    if not (isinstance(payload, dict) and isinstance(payload.get("arguments"), dict)):
        raise malformed(_A_CALL, 'no "name" and "arguments" in the tool call')
    name, arguments = payload.get("name"), payload["arguments"]
    if name not in tools:
        there = " and ".join(map(repr, tools))
        raise malformed(_A_CALL, f"the tool {neutral(repr(name)[:40])}; there is {there}")
    if not all(isinstance(value, str) for value in arguments.values()):
        raise malformed(_A_CALL, "an argument that is not a string")
    if forgery := forged("\n".join([*arguments, *arguments.values()])):
        raise malformed(_A_CALL, forgery)
    return ToolCall(name, arguments)


def write_call(name: str, arguments: Mapping[str, str]) -> str:
    """Write ``{"name": ..., "arguments": {...}}`` so that no text in it reads as a tag."""
    return write_json({"name": name, "arguments": dict(arguments)})


def write_json(value: object) -> str:
    """Write JSON so that no text in it reads as a tag."""
    return _TAG.sub(r"\\u003c", json.dumps(value, ensure_ascii=False))

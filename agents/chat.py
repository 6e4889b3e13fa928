"""From messages to token ids, once and exactly: what was sampled is never tokenised again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from text2sql_gym.errors import Text2SQLError

Message = dict[str, str]

_QUESTION = {"role": "user", "content": "q"}
_TURN = "assistant-turn-0"
"""a turn that no template changes, to be found again in a rendering"""


class TemplateError(Text2SQLError, ValueError):
    """A tokenizer cannot hold the conversation; the message says what it lacks."""


class Chat:
    """The chat template of a tokenizer, applied to prompts and to single later messages.

    A multi-turn token sequence is: prompt, sampled turn, observation, sampled turn, ... The
    observation's tokens are those that the template puts between the end token of one assistant
    turn and the first token of the next.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if tokenizer.chat_template is None:
            raise TemplateError("the tokenizer has no chat template")
        if tokenizer.eos_token_id is None:
            raise TemplateError("the tokenizer has no end token")
        self.tokenizer = tokenizer
        self.stop_id = int(tokenizer.eos_token_id)

    def prompt_ids(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()
    ) -> tuple[int, ...]:
        """Token ids of an episode's first messages, ready for the first assistant turn.

        `tools` are the JSON schemas of ``info["tool_schemas"]``; the template writes them. Raises
        `TemplateError` when it leaves them out, since the model would not know what it may call.
        """
        rendered = self._render(messages, tools=list(tools) or None)
        if not all(tool["function"]["name"] in rendered for tool in tools):
            raise TemplateError("the chat template does not write tools: use a protocol of tags")
        return self._encode(rendered)

    def check(self, tools: Sequence[dict[str, Any]] = ()) -> None:
        """Raise `TemplateError` if a conversation with these tools cannot be held."""
        self.prompt_ids([{"role": "system", "content": "s"}, _QUESTION], tools)
        self.message_ids({"role": "tool", "content": "r"})

    def message_ids(self, message: Message) -> tuple[int, ...]:
        """Token ids that follow an assistant turn's end token when `message` comes next.

        They are what stands behind the turn in one rendering. Two renderings, with and without
        `message`, may differ before it: Qwen3's template writes the last turn with an empty
        thought and earlier ones without. What was sampled stays as it was sampled.
        """
        before = [_QUESTION, {"role": "assistant", "content": _TURN}]
        _, found, after = self._render([*before, message]).partition(_TURN)
        if not found:
            raise TemplateError("the chat template leaves out or rewrites an earlier turn")
        head, end, rest = after.partition(str(self.tokenizer.eos_token))
        written = end and not head.strip()  # else the template writes no end token of its own
        return self._encode(rest if written else after)

    def turn_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of an assistant turn written by hand (a demonstration), end token included."""
        return (*self._encode(text), self.stop_id)

    def text(self, token_ids: Sequence[int]) -> str:
        """The text of a sampled turn, without special tokens."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True))

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _render(
        self, messages: Sequence[Message], tools: list[dict[str, Any]] | None = None
    ) -> str:
        options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": True}
        # Qwen3's switch; templates without it ignore it. The protocol has its own reasoning tag.
        rendered = self.tokenizer.apply_chat_template(
            list(messages), tools=tools, enable_thinking=False, **options
        )
        return str(rendered)

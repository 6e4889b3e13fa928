"""From messages to token ids, once and exactly: what was sampled is never tokenised again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

Message = dict[str, str]


class Chat:
    """The chat template of a tokenizer, applied to prompts and to single later messages.

    A multi-turn token sequence is: prompt, sampled turn, observation, sampled turn, ... The
    observation's tokens are those that the template puts between the end token of one assistant
    turn and the first token of the next.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if tokenizer.chat_template is None:
            raise ValueError("the tokenizer has no chat template")
        if tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer has no end token")
        self.tokenizer = tokenizer
        self.stop_id = int(tokenizer.eos_token_id)

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of an episode's first messages, ready for the first assistant turn."""
        return self._encode(self._render(messages))

    def message_ids(self, message: Message) -> tuple[int, ...]:
        """Token ids that follow an assistant turn's end token when `message` comes next."""
        before = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
        whole = self._render([*before, message])
        prefix = self._render(before, generation_prompt=False)
        end = str(self.tokenizer.eos_token)
        if end in prefix:  # what the template writes after the end token opens the next message
            prefix = prefix[: prefix.rindex(end) + len(end)]
        if not whole.startswith(prefix):
            raise ValueError("the chat template rewrites earlier turns when a message is added")
        return self._encode(whole[len(prefix) :])

    def turn_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of an assistant turn written by hand (a demonstration), end token included."""
        return (*self._encode(text), self.stop_id)

    def text(self, token_ids: Sequence[int]) -> str:
        """The text of a sampled turn, without special tokens."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True))

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _render(self, messages: Sequence[Message], *, generation_prompt: bool = True) -> str:
        options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": generation_prompt}
        # Qwen3's switch; templates without it ignore it. The protocol has its own reasoning tag.
        rendered = self.tokenizer.apply_chat_template(
            list(messages), enable_thinking=False, **options
        )
        return str(rendered)

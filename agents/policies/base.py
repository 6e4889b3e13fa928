"""What a rollout asks of a policy: sequences that are opened, extended, advanced and closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from transformers import PreTrainedModel

from agents.types import Completion
from text2sql_gym.errors import Text2SQLError


@dataclass(frozen=True)
class Sampling:
    """How turns are drawn. temperature 0 is greedy; `max_new_tokens` bounds one turn."""

    max_new_tokens: int = 128
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.max_new_tokens < 1:
            raise ValueError(f"expected temperature >= 0 and max_new_tokens >= 1, got {self}")


class Policy(Protocol):
    """Samples the turns of many episodes at once; none of them waits for another."""

    def open(self, prompt_ids: Sequence[int], seeds: Sequence[int]) -> list[int]:
        """Begin one sequence per seed on the same prompt and ask for its first turn.

        Returns their handles. The draws of a sequence depend on its seed alone.
        """

    def extend(self, handle: int, token_ids: Sequence[int]) -> None:
        """Append an observation to a sequence whose turn is complete, and ask for its next."""

    def close(self, handle: int) -> None:
        """Forget a sequence whose turn is complete."""

    def advance(self) -> list[tuple[int, Completion]]:
        """Generate until at least one turn is complete; [] when none was asked for."""


class Sampler(Protocol):
    """Makes policies of one model. An entry of `agents.policies.SAMPLERS` builds it."""

    def policy(self, sampling: Sampling) -> Policy:
        """The model with its weights as they are now; it is the only policy in use."""

    def close(self) -> None:
        """Give up what it holds."""


class SamplerError(Text2SQLError, RuntimeError):
    """An engine does not sample from the weights it was given; the message has the numbers."""


def end_tokens(model: PreTrainedModel) -> list[int]:
    """The tokens that end a turn for the model: Llama 3 has another one after a tool call."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    return ends if isinstance(ends, list) else [] if ends is None else [ends]


def head_size(model: PreTrainedModel) -> int:
    """Numbers that an attention head keeps of a token, as key and again as value."""
    config = model.config.get_text_config()
    return int(
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )


def check_prompt(prompt_ids: Sequence[int], context: int) -> None:
    """Raise ValueError for a prompt that is empty or leaves no room in the context."""
    if not 0 < len(prompt_ids) < context:
        most = context - 1
        raise ValueError(f"expected 1 to {most} prompt tokens, got {len(prompt_ids)}")


def check_group(seeds: Sequence[int], rows: int) -> None:
    """Raise ValueError for a group that has more attempts than there are rows."""
    if len(seeds) > rows:
        raise ValueError(f"{len(seeds)} attempts need as many rows; raise `rows`")

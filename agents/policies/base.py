"""What a rollout asks of a policy: sequences that are opened, extended, advanced and closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agents.types import Completion


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

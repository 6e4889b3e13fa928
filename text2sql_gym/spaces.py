"""A space of Unicode text. Gymnasium's `Text` needs every allowed character listed."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

_PRINTABLE = "".join(map(chr, range(32, 127))) + "\n"


class Unicode(gym.Space[str]):
    """Strings of at most `max_length` code points, any of Unicode.

    `sample` draws up to 64 printable ASCII characters: a random text is a wrong action of any
    protocol, which is what random actions are for. `contains` takes constant time.
    """

    def __init__(self, max_length: int, seed: int | np.random.Generator | None = None) -> None:
        if max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}")
        self.max_length = max_length
        super().__init__(dtype=str, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Text has no array form."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Draw a text; masks mean nothing here and are refused."""
        if mask is not None or probability is not None:
            raise ValueError("Unicode.sample takes neither a mask nor a probability")
        length = int(self.np_random.integers(0, min(64, self.max_length) + 1))
        return "".join(self.np_random.choice(list(_PRINTABLE), size=length))

    def contains(self, x: Any) -> bool:
        """True for a `str` within `max_length`."""
        return isinstance(x, str) and len(x) <= self.max_length

    def to_jsonable(self, sample_n: Any) -> list[str]:
        """Texts are their own JSON form."""
        return list(sample_n)

    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        """The inverse of `to_jsonable`."""
        return [str(sample) for sample in sample_n]

    def __repr__(self) -> str:
        return f"Unicode({self.max_length})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unicode) and other.max_length == self.max_length

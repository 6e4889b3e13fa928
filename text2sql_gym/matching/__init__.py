"""Is this result right? One rule per file; `MATCHERS` names them."""

from __future__ import annotations

from collections.abc import Callable

from text2sql_gym.matching.base import Gold, Matcher
from text2sql_gym.matching.bird_ex import BirdEx
from text2sql_gym.matching.strict import Strict

MATCHERS: dict[str, Callable[[], Matcher]] = {
    "strict": Strict,
    "bird_ex": BirdEx,
}

__all__ = ["MATCHERS", "Gold", "Matcher"]

"""The tiers of the benchmark: what runs a spec, and with which settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents import menu_rollout
from agents.learned import language
from agents.learned.signals import LEARNED
from experiments.credit_benchmark import lm_tier, menu_tier
from experiments.credit_benchmark.menu_tier import MenuSettings
from experiments.credit_benchmark.variants import Spec


@dataclass(frozen=True)
class Tier:
    """How runs of a tier are made; `run` gets a folder for what it has to keep."""

    run: Callable[[Spec, Path], dict[str, Any]]
    settings: Mapping[str, Any]
    quick: Mapping[str, Any]
    signals: frozenset[str]


TIERS: dict[str, Tier] = {
    "menu": Tier(
        menu_tier.run,
        MenuSettings().as_dict(),
        MenuSettings().as_dict(),
        menu_rollout.SIGNALS | frozenset(LEARNED),
    ),
    "lm": Tier(lm_tier.run, lm_tier.FULL.as_dict(), lm_tier.QUICK.as_dict(), language.SIGNALS),
}

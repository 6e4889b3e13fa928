"""The tiers of the benchmark: what runs a spec, and with which settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.credit_benchmark import menu_tier
from experiments.credit_benchmark.menu_tier import MenuSettings
from experiments.credit_benchmark.variants import Spec


@dataclass(frozen=True)
class Tier:
    """How runs of a tier are made."""

    run: Callable[[Spec], dict[str, Any]]
    settings: Mapping[str, Any]
    quick: Mapping[str, Any]


TIERS: dict[str, Tier] = {
    "menu": Tier(menu_tier.run, MenuSettings().as_dict(), MenuSettings(updates=16).as_dict()),
}

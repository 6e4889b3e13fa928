"""How a method is named on the command line: a preset as flags, options of an estimator as text."""

from __future__ import annotations

import ast
from typing import Any

from agents.losses import CORRECTIONS
from agents.presets import PRESETS


def of_preset(name: str) -> dict[str, Any]:
    """A preset as fields of `experiments.config.Config`."""
    preset = PRESETS[name]
    objective, bounds = preset.objective, preset.objective.bounds
    named = {correction: known for known, correction in CORRECTIONS.items()}
    return {
        "estimator": preset.estimator,
        "rounds": preset.rounds,
        "overlong": preset.overlong,
        "kl": preset.kl,
        "ratio": objective.ratio,
        "surrogate": objective.surrogate,
        "reduction": objective.reduction,
        "clip_low": bounds.clip_low,
        "clip_high": bounds.clip_high,
        "dual_clip": bounds.dual_clip or 0.0,
        "correction": named[objective.correction],
    }


def read_options(text: str) -> dict[str, Any]:
    """Read "name=value,...": numbers, booleans and None as such, everything else as text.

    Raises ValueError for a part without "=".
    """
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"estimator_options: expected name=value, got {part!r}")
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[name] = value
    return options

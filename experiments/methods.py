"""How a method is named on the command line, and whether attempts give what it asks for."""

from __future__ import annotations

import ast
from typing import Any

from agents.learned.gold import PROPOSALS
from agents.learned.language import SIGNALS
from agents.losses import CORRECTIONS
from agents.presets import PRESETS
from text2sql_gym.protocols import PROTOCOLS


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


def check_needs(
    estimator: str, needs: frozenset[str], group_size: int, *, proposals: bool
) -> None:
    """Raise ValueError for an estimator that attempts cannot serve.

    `proposals` says whether schemas can be proposed in them.
    """
    if missing := sorted(needs - SIGNALS):
        raise ValueError(
            f"estimator: {estimator} needs {', '.join(missing)}, which episodes of language "
            "models do not give"
        )
    if needs & PROPOSALS and not proposals:
        able = [name for name, build in PROTOCOLS.items() if "propose_schema" in build().tools]
        raise ValueError(
            f"estimator: {estimator} credits proposed schemas, and none are proposed here; "
            f"expected --propose above 0, or with --model --protocol {' or '.join(able)}"
        )
    if "trees" in needs and group_size % 2:
        raise ValueError(f"group_size: the attempts of {estimator} branch in pairs; expected even")

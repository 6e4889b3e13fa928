"""Checks of the estimators' hyperparameters; a wrong one is named when the estimator is built."""

from __future__ import annotations

from typing import get_args


def check_choice(owner: object, name: str, allowed: object) -> None:
    """Raise ValueError unless the field `name` is one of the literals of the type `allowed`."""
    value, choices = getattr(owner, name), get_args(allowed)
    if value not in choices:
        raise ValueError(f"{type(owner).__name__}: {name} must be one of {choices}, got {value!r}")


def check_range(owner: object, low: float, high: float, *names: str) -> None:
    """Raise ValueError naming the first of these fields that is outside [low, high]."""
    for name in names:
        value = getattr(owner, name)
        if not low <= value <= high:
            raise ValueError(
                f"{type(owner).__name__}: {name} must be in [{low}, {high}], got {value!r}"
            )

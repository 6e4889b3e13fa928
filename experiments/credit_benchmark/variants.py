"""What is compared: variants of estimators, read from a config file or listed by name."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agents.credit import ESTIMATORS, Estimator
from text2sql_gym.registry import lookup

BASELINES = ("sb3_ppo", "sb3_maskable_ppo")
"""Independent baselines: algorithms of stable-baselines3 and sb3-contrib; menu tier only."""


@dataclass(frozen=True)
class Variant:
    """One competitor.

    name         what tables call it
    estimator    a name in `ESTIMATORS` or `BASELINES`
    options      hyperparameters of the estimator, the others at their defaults
    rewards      what the environment pays: a scheme's name, or its fields
    schema_mode  how proposed schemas are scored for estimators that ask for it
    prover       fields of `Prover` for estimators that ask for one: attempts, best_of
    """

    name: str
    estimator: str
    options: Mapping[str, Any] = field(default_factory=dict)
    rewards: str | Mapping[str, Any] = "finestep"
    schema_mode: str = "total_match"
    prover: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.estimator not in BASELINES:
            self.build()  # refuses a wrong name or hyperparameter now, not after an hour

    def build(self) -> Estimator:
        """The estimator."""
        return lookup(ESTIMATORS, self.estimator, "estimator")(**self.options)

    @property
    def needs(self) -> tuple[str, ...]:
        """The signals that the estimator asks for; none for a baseline."""
        return () if self.estimator in BASELINES else tuple(getattr(self.build(), "needs", ()))


@dataclass(frozen=True)
class Study:
    """A comparison: a name for its files, what it asks, and its competitors.

    `seeds` overrides the number of seeds asked for on the command line; 0 leaves it.
    """

    name: str
    title: str
    variants: tuple[Variant, ...]
    seeds: int = 0

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names) or not names:
            raise ValueError(f"{self.name}: expected variants with names of their own, got {names}")


@dataclass(frozen=True)
class Spec:
    """One run: all that its result follows from."""

    tier: str
    variant: Variant
    rate: float
    seed: int
    settings: Mapping[str, Any]
    revision: int = 2
    """raised whenever the same spec would give other numbers"""

    @property
    def key(self) -> str:
        """A hash of everything but the name of the variant."""
        content = asdict(self)
        del content["variant"]["name"]
        if not content["variant"]["prover"]:
            del content["variant"]["prover"]  # runs that were named before there was this field
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def fitting(signals: frozenset[str]) -> tuple[str, ...]:
    """The estimators that need no other signals than these."""
    return tuple(
        name for name, build in ESTIMATORS.items()
        if set(getattr(build, "needs", ("?",))) <= signals
    )


def named(study: str, names: Sequence[str]) -> Study:
    """The study of that name, of estimators and baselines with their defaults."""
    variants = tuple(Variant(name, name) for name in names)
    return Study(study, f"{study.capitalize()} with their defaults", variants)


def read_study(file: Path) -> Study:
    """Read a study from TOML: ``title``, optional ``seeds``, and ``[[variants]]``.

    A field that a variant leaves out is that of the first variant, except its name and options.
    Raises ValueError naming the file and what is wrong in it.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        given = list(content["variants"])
        variants = tuple(_variants(given))
        return Study(file.stem, content["title"], variants, content.get("seeds", 0))
    except (OSError, tomllib.TOMLDecodeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: {type(error).__name__}: {error}") from error


def _variants(given: Sequence[Mapping[str, Any]]) -> Iterable[Variant]:
    shared = {key: given[0][key] for key in ("estimator", "rewards") if key in given[0]}
    for fields in given:
        yield Variant(**{**shared, **fields})

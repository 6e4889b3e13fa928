"""One frozen dataclass per script becomes its command line: a flag per field, named after it."""

from __future__ import annotations

import argparse
import types
from collections.abc import Sequence
from dataclasses import MISSING, Field, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")


def option(default: Any, text: str) -> Any:
    """A field of a config with its help text."""
    return field(default=default, metadata={"help": text})


def parse(config: type[T], argv: Sequence[str] | None = None, **defaults: Any) -> T:
    """Build a config from flags; `defaults` replace the defaults of its fields.

    ``int``, ``float``, ``str``, ``Path`` and ``bool`` fields (``--flag`` / ``--no-flag``) and
    their optional forms are understood.
    """
    summary = (config.__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(
        description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    hints = get_type_hints(config)
    for item in fields(config):  # type: ignore[arg-type]
        default = defaults.get(item.name, _default(item))
        _add(parser, item, _plain(hints[item.name]), default)
    return config(**vars(parser.parse_args(argv)))


def _add(parser: argparse.ArgumentParser, item: Field[Any], kind: type, default: Any) -> None:
    flag, text = f"--{item.name.replace('_', '-')}", item.metadata.get("help", "")
    if kind is bool:
        action = argparse.BooleanOptionalAction
        parser.add_argument(flag, default=default, help=text, action=action)
    else:
        required = default is MISSING
        shown = None if required else default
        parser.add_argument(flag, default=shown, help=text, type=kind, required=required)


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()


def _plain(hint: Any) -> type:
    """``int`` for ``int | None``; the type itself otherwise."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in get_args(hint) if part is not types.NoneType)
    if hint not in (int, float, str, bool, Path):
        raise TypeError(f"a flag cannot be made for a field of type {hint!r}")
    return hint  # type: ignore[no-any-return]

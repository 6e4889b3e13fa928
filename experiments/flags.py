"""One frozen dataclass per script becomes its command line: a flag per field, named after it."""

from __future__ import annotations

import argparse
import types
from collections.abc import Sequence
from dataclasses import MISSING, Field, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from text2sql_gym.errors import UnknownName

T = TypeVar("T")


def option(default: Any, text: str) -> Any:
    """A field of a config with its help text."""
    return field(default=default, metadata={"help": text})


def one_of(name: str, value: str, *known: str) -> None:
    """Raise ValueError, with what was expected, for a value that is not known."""
    if value not in known:
        expected = f"{', '.join(known[:-1])} or {known[-1]}"
        raise ValueError(f"{name}: expected {expected}, got {value!r}")


def parse(config: type[T], argv: Sequence[str] | None = None, **defaults: Any) -> T:
    """Build a config from flags; `defaults` replace the defaults of its fields.

    ``int``, ``float``, ``str``, ``Path`` and ``bool`` fields (``--flag`` / ``--no-flag``) and
    their optional forms are understood. What the config itself refuses with a ValueError or
    `UnknownName` ends the program with usage and reason, like any other wrong flag.
    """
    summary = (config.__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(
        description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    hints = get_type_hints(config)
    if unknown := set(defaults) - set(hints):
        raise TypeError(f"{config.__name__} has no field {', '.join(sorted(unknown))}")
    for item in fields(config):  # type: ignore[arg-type]
        default = defaults.get(item.name, _default(item))
        _add(parser, item, _plain(hints[item.name]), default)
    try:
        return config(**vars(parser.parse_args(argv)))
    except (ValueError, UnknownName) as error:
        parser.error(str(error))


def _add(parser: argparse.ArgumentParser, item: Field[Any], kind: type, default: Any) -> None:
    how: dict[str, Any] = (
        {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
    )
    required = default is MISSING
    parser.add_argument(
        f"--{item.name.replace('_', '-')}",
        default=None if required else default,
        required=required,
        help=item.metadata.get("help", "").replace("%", "%%"),
        **how,
    )


def _default(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()


def _plain(hint: Any) -> type:
    """``int`` for ``int | None``; the type itself otherwise."""
    if isinstance(hint, types.UnionType):
        parts = [part for part in get_args(hint) if part is not types.NoneType]
        hint = parts[0] if len(parts) == 1 else hint
    if hint not in (int, float, str, bool, Path):
        raise TypeError(f"a flag cannot be made for a field of type {hint!r}")
    return hint  # type: ignore[no-any-return]

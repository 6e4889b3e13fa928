"""What stands in a registry, as Markdown: what an entry is, what may be set, what it can do."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import partial
from types import FunctionType
from typing import Any

from docstrings import as_markdown, code_block, field_docstrings, first_sentence, listed, table

Links = Mapping[str, str]
"""Where a name in single backticks leads."""


def documented(entry: Any) -> Any:
    """The class or function behind an entry, which may be an object or have arguments bound."""
    if isinstance(entry, partial):
        return entry.func
    return entry if isinstance(entry, type | FunctionType) else type(entry)


def summary(entry: Any) -> str:
    """What the docstring of an entry begins with, and what is bound in it."""
    bound = entry.keywords if isinstance(entry, partial) else {}
    told = ", ".join(f"`{name}={value!r}`" for name, value in bound.items())
    said = first_sentence(inspect.getdoc(documented(entry)) or "", {})
    return f"{said} With {told}." if told else said


def described(target: Any, links: Links) -> str:
    """A docstring as Markdown, without a listing of fields: those stand in the table below it."""
    text = inspect.getdoc(target) or ""
    if is_dataclass(target):
        own = {field.name for field in fields(target)}
    else:
        own = set() if isinstance(target, type) else {option.name for option in _options(target)}
    blocks = [block for block in text.split("\n\n") if not own & listed(block).keys()]
    return as_markdown("\n\n".join(blocks), links)


def members(name: str, entry: Any, links: Links) -> str:
    """The public methods and properties that a class defines, with their docstrings."""
    parts = ["## Methods"]
    for member, value in vars(documented(entry)).items():
        target = value.fget if isinstance(value, property) else value
        if member.startswith("_") or not isinstance(target, FunctionType):
            continue
        arguments = "" if isinstance(value, property) else _signature(target)
        parts.append(f"### `{member}{arguments}`\n\n{described(target, links)}")
    return "\n\n".join(parts)


def arguments(entry: Any, links: Links) -> str:
    """The table of what may be set, with the values that this entry has."""
    target = documented(entry)
    if isinstance(target, type) and not is_dataclass(target):
        return f"## Arguments in full\n\n{code_block(_call(target), 'python')}"
    told = field_docstrings(target) if is_dataclass(target) else {}
    told |= listed(inspect.getdoc(target) or "")
    meanings = {name: as_markdown(" ".join(text.split()), links) for name, text in told.items()}
    if is_dataclass(target):
        rows = [_field_row(field, entry, meanings) for field in fields(target)]
    else:
        rows = [_parameter_row(option, meanings) for option in _options(target)]
    head = ("name", "type", "value" if entry is not target else "default", "meaning")
    return f"## Arguments\n\n{table(head, rows)}" if rows else ""


def _field_row(
    field: Field[Any], entry: Any, meanings: Mapping[str, str]
) -> tuple[str, str, str, str]:
    value = _value(field, entry)
    return f"`{field.name}`", f"`{field.type}`", f"`{value}`", meanings.get(field.name, "")


def _value(field: Field[Any], entry: Any) -> str:
    """The value of a field: bound, set, or its default."""
    bound = entry.keywords if isinstance(entry, partial) else {}
    if field.name in bound:
        return _shown(bound[field.name])
    if not isinstance(entry, type | partial):
        return _shown(getattr(entry, field.name))
    if field.default_factory is not MISSING:
        return _shown(field.default_factory())
    return "required" if field.default is MISSING else _shown(field.default)


def _options(function: Any) -> list[inspect.Parameter]:
    parameters = inspect.signature(function).parameters.values()
    return [given for given in parameters if given.kind is inspect.Parameter.KEYWORD_ONLY]


def _parameter_row(
    option: inspect.Parameter, meanings: Mapping[str, str]
) -> tuple[str, str, str, str]:
    default = f"`{_shown(option.default)}`"
    return f"`{option.name}`", f"`{option.annotation}`", default, meanings.get(option.name, "")


def _call(cls: type) -> str:
    """The constructor with types and defaults, one argument a line."""
    parameters = inspect.signature(cls).parameters.values()
    lines = "".join(f"    {_declared(parameter)},\n" for parameter in parameters)
    return f"{cls.__name__}(\n{lines})"


def _declared(parameter: inspect.Parameter) -> str:
    default = "" if parameter.default is parameter.empty else f" = {_shown(parameter.default)}"
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    return f"{stars}{parameter.name}: {parameter.annotation}{default}"


def _shown(value: Any) -> str:
    """A value as one writes it."""
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def _signature(function: FunctionType) -> str:
    """Names and defaults of a method's arguments."""
    given = list(inspect.signature(function).parameters.values())[1:]
    return f"({', '.join(str(one.replace(annotation=one.empty)) for one in given)})"

"""From the docstrings of this code base to Markdown.

They are Markdown already, up to four habits: code in double backticks, names of objects in single
ones, a formula as an indented block, and fields as a listing of names and meanings in two columns.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from textwrap import dedent
from typing import Any

_LISTED = re.compile(r"(?P<name>\w+)(?P<gap> {2,})(?=\S)")
_CODE = re.compile(r"(`+)(.+?)\1(?!`)", re.DOTALL)
_ARXIV = re.compile(r"arXiv[: ](\d{4}\.\d{4,5})")


def as_markdown(text: str, links: Mapping[str, str]) -> str:
    """Return a cleaned docstring as Markdown; `links` says which names lead where."""
    return "\n\n".join(_block(block, links) for block in _blocks(text))


def first_sentence(text: str, links: Mapping[str, str]) -> str:
    """Return what the first paragraph of a docstring says, up to its first full stop."""
    paragraph = " ".join(text.split("\n\n", 1)[0].split())
    return _prose(re.split(r"(?<=\.)\s+(?=[A-Z])", paragraph, maxsplit=1)[0], links)


def listed(text: str) -> dict[str, str]:
    """Return the fields that a docstring lists in two columns, with their meanings."""
    found: dict[str, str] = {}
    for block in _blocks(text):
        found.update(_listing(block) or {})
    return found


def field_docstrings(cls: type) -> dict[str, str]:
    """Return the texts that stand below the fields of a class, by field."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        found.update(_field_docstrings(base))
    return found


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; cells may hold code with bars, and no line breaks are left."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def code_block(text: str, language: str = "text") -> str:
    """Return a fenced block whose fence is longer than any in `text`."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _blocks(text: str) -> list[str]:
    """Split at blank lines; indented blocks that follow each other stay one."""
    blocks: list[str] = []
    for block in re.split(r"\n[ \t]*\n", text.strip("\n")):
        if blocks and _is_indented(block) and _is_indented(blocks[-1]):
            blocks[-1] += f"\n\n{block}"
        else:
            blocks.append(block)
    return blocks


def _is_indented(block: str) -> bool:
    lines = [line for line in block.split("\n") if line.strip()]
    return bool(lines) and all(line.startswith("    ") for line in lines)


def _block(block: str, links: Mapping[str, str]) -> str:
    if _is_indented(block):
        return code_block(dedent(block))
    if found := _listing(block):
        rows = [(f"`{name}`", _prose(meaning, links)) for name, meaning in found.items()]
        return table(("name", "meaning"), rows)
    return _prose(block, links)


def _listing(block: str) -> dict[str, str] | None:
    """Return names and meanings where a block is two columns, the second one aligned."""
    first = _LISTED.match(block)
    if first is None:
        return None
    found: dict[str, str] = {}
    for line in block.split("\n"):
        start = _LISTED.match(line)
        if start and start.end() == first.end():
            found[start["name"]] = line[start.end() :]
        elif found and line.startswith(" " * first.end()):
            found[list(found)[-1]] += f" {line.strip()}"
        else:
            return None
    return found


def _prose(text: str, links: Mapping[str, str]) -> str:
    """Link known names, and keep Markdown from reading a ``<`` as the start of a tag."""
    parts: list[str] = []
    end = 0
    for code in _CODE.finditer(text):
        name = code[2].strip()
        linked = f"[`{name}`]({links[name]})" if len(code[1]) == 1 and name in links else code[0]
        parts += [_plain(text[end : code.start()]), linked]
        end = code.end()
    return "".join([*parts, _plain(text[end:])])


def _plain(text: str) -> str:
    text = text.replace("<", "\\<")
    return _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _field_docstrings(cls: type) -> dict[str, str]:
    try:
        (definition,) = ast.parse(dedent(inspect.getsource(cls))).body
    except (OSError, TypeError):  # made at run time: there is no source
        return {}
    body: list[Any] = getattr(definition, "body", [])
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in zip(body, body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }

"""Print the page on reward terms, made from their docstrings.

    python -m text2sql_gym.rewards > docs/rewards.md
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass

from text2sql_gym.rewards import REWARDS, SCHEMES, Reward

PARTS = ("Range", "Gamed by", "Source")

_INTRODUCTION = """\
# Rewards

<!-- made by `python -m text2sql_gym.rewards`; change the docstrings, not this page -->

A reward *term* is a pure function of one turn (`Transition`): the task and its gold result, the
call, its result, and the turns before. A *scheme* weighs terms into what `step` returns,

    reward = sum of outcome terms + process_scale * sum of process terms

and `info["reward_terms"]` has the raw value of every term of the scheme. Choose a scheme by name,
`gym.make("Text2SQL-v0", rewards="trust_sql")`, give the fields of one,
`rewards={"outcome": {"execution_match": 1.0}, "process": {"cell_f1": 0.5}}`, or pass a
`RewardScheme` with terms of your own in `own`.

No scheme pays any of the known tricks as much as a right answer; tests hold every scheme to that,
and list what every term pays for each trick. The docstrings say more, and are the pages of
reference that `make docs` builds.
"""


def page() -> str:
    """The whole page in Markdown."""
    return "\n".join([_INTRODUCTION, "## Schemes\n", *_schemes(), "\n## Terms\n", *_terms()])


def said(term: Reward) -> dict[str, str]:
    """The parts of a term's docstring: "" for the description, then those named in `PARTS`."""
    text = inspect.getdoc(term if inspect.isfunction(term) else type(term)) or ""
    parts: dict[str, list[str]] = {"": []}
    name = ""
    for line in text.splitlines():
        start = line.partition(":")[0]
        if start in PARTS:
            name, line = start, line.removeprefix(f"{start}:")
            parts[name] = []
        parts[name].append(line)
    return {name: "\n".join(lines).strip() for name, lines in parts.items()}


def _schemes() -> Iterable[str]:
    yield "| scheme | outcome | process | scale | from |"
    yield "| --- | --- | --- | --- | --- |"
    for name, scheme in SCHEMES.items():
        sums = [_sum(scheme.outcome), _sum(scheme.process)]
        scale = f"{scheme.process_scale:g}" if scheme.process else "–"
        yield f"| `{name}` | {sums[0]} | {sums[1]} | {scale} | {scheme.source} |"


def _sum(weights: Mapping[str, float]) -> str:
    terms = (f"{weight:g} × `{name}`" for name, weight in weights.items())
    return " + ".join(terms) or "–"


def _terms() -> Iterable[str]:
    yield "| term | what it pays | range | gamed by | source |"
    yield "| --- | --- | --- | --- | --- |"
    for name, term in REWARDS.items():
        parts = said(term)
        pays = " ".join([_one_line(parts[""].split("\n\n")[0]), *_settings(term)])
        cells = [f"`{name}`", pays, *(_one_line(parts[part]) for part in PARTS)]
        yield f"| {' | '.join(cells)} |"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


def _settings(term: Reward) -> Iterable[str]:
    if is_dataclass(term) and not isinstance(term, type):
        values = (f"{field.name}={getattr(term, field.name)!r}" for field in fields(term))
        yield f"With `{', '.join(values)}`."


if __name__ == "__main__":
    print(page())

"""The pages of reference: one for every entry of every registry, made from its docstring.

`conf.py` writes them below ``docs/reference`` before Sphinx reads the folder; they are not part of
the repository. A new entry of a registry has a page without a new line here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
from docstrings import code_block, table
from entries import Links, arguments, described, documented, members, summary
from protocol_page import protocol_page, wrapped

import text2sql_gym  # registers the environments
from agents.credit import ESTIMATORS
from text2sql_gym import wrappers
from text2sql_gym.backends import BACKENDS
from text2sql_gym.datasets import DATASETS
from text2sql_gym.matching import MATCHERS
from text2sql_gym.protocols import PROTOCOLS
from text2sql_gym.rewards import REWARDS, SCHEMES
from text2sql_gym.tools import TOOLS, describe

_PACKAGE = text2sql_gym.__name__


def registered(entry_point: str) -> dict[str, Any]:
    """Return the classes behind every id that the package registers: of one, or of many at once."""
    points = {name: str(getattr(spec, entry_point)) for name, spec in gym.registry.items()}
    load = gym.envs.registration.load_env_creator
    return {name: load(point) for name, point in points.items() if point.startswith(_PACKAGE)}


def wrapper_classes() -> dict[str, Any]:
    """Return the wrappers by name."""
    offered = {name: getattr(wrappers, name) for name in wrappers.__all__}
    return {name: cls for name, cls in offered.items() if issubclass(cls, gym.Wrapper)}


def _weights(scheme: Any) -> str:
    """The terms of a reward scheme."""
    parts = [
        f"{part}: " + ", ".join(f"{weight:g} `{name}`" for name, weight in terms.items())
        for part, terms in (("outcome", scheme.outcome), ("process", scheme.process))
        if terms
    ]
    return "; ".join(parts)


@dataclass(frozen=True)
class Kind:
    """One registry: where its pages go, what they are called, and how an entry is chosen."""

    registry: str
    folder: str
    title: str
    intro: str
    entries: Mapping[str, Any]
    use: str
    more: Callable[[str, Any, Links], str] = lambda name, entry, links: ""
    """what stands below the arguments"""
    summary: Callable[[Any], str] = summary
    """the line in the index"""
    elsewhere: str = ""
    """the folder of its pages, where another script writes them"""


def _to_the_policy(name: str, entry: Any, links: Links) -> str:
    return f"## As the policy reads it\n\n{wrapped(describe([name]))}"


def _splits(name: str, entry: Any, links: Links) -> str:
    """The splits that the module of a loader names, with what it says about each."""
    module = inspect.getmodule(entry)
    splits = getattr(module, "SPLITS", {})
    parts = {name: told if isinstance(told, tuple) else (told,) for name, told in splits.items()}
    rows = [(f"`{name}`", ", ".join(f"`{part}`" for part in told)) for name, told in parts.items()]
    return f"## Splits\n\n{table(('split', 'file, or part'), rows)}" if rows else ""


KINDS: tuple[Kind, ...] = (
    Kind(
        "",
        "environments",
        "Environments",
        "What `gymnasium.make` knows once `text2sql_gym` is imported.",
        registered("entry_point"),
        'gym.make("{name}")',
        members,
    ),
    Kind(
        "",
        "vector_environments",
        "Vector environments",
        "Many environments at once: what `gymnasium.make_vec` gives.",
        registered("vector_entry_point"),
        'gym.make_vec("{name}", num_envs=8)',
        members,
    ),
    Kind(
        "",
        "wrappers",
        "Wrappers",
        "Other views of the environment.",
        wrapper_classes(),
        "text2sql_gym.wrappers.{name}(env)",
        members,
    ),
    Kind(
        "PROTOCOLS",
        "protocols",
        "Protocols",
        "The language an episode is held in: how a turn of text becomes a tool call, and a result "
        "becomes text.",
        PROTOCOLS,
        'gym.make("Text2SQL-v0", protocol="{name}", protocol_options={{...}})',
        protocol_page,
    ),
    Kind(
        "TOOLS",
        "tools",
        "Tools",
        "What a turn may call. A protocol says which tools it offers and how they are written.",
        TOOLS,
        'TOOLS["{name}"]',
        _to_the_policy,
    ),
    Kind(
        "REWARDS",
        "rewards",
        "Reward terms",
        'What a step is worth. Every term of a scheme stands raw in `info["reward_terms"]`.',
        REWARDS,
        'gym.make("Text2SQL-v0", rewards={{"outcome": {{"execution_match": 1.0}}, '
        '"process": {{"{name}": 1.0}}}})',
    ),
    Kind(
        "SCHEMES",
        "schemes",
        "Reward schemes",
        "Which terms are paid, and how they weigh.",
        SCHEMES,
        'gym.make("Text2SQL-v0", rewards="{name}")',
        summary=_weights,
    ),
    Kind(
        "MATCHERS",
        "matchers",
        "Matchers",
        "Is this result right? [What each matcher counts as equal](../../matching.md) compares "
        "them by examples.",
        MATCHERS,
        'gym.make("Text2SQL-v0", matcher="{name}")',
    ),
    Kind(
        "DATASETS",
        "datasets",
        "Datasets",
        "From a folder and a split to tasks. [Datasets](../../datasets.md) says which files are "
        "expected where, and which golds earn the full reward.",
        DATASETS,
        'gym.make("Text2SQL-v0", dataset="{name}", data_dir=..., split=..., '
        "dataset_options={{...}})",
        _splits,
    ),
    Kind(
        "BACKENDS",
        "engines",
        "Database engines",
        "Guarded, read-only execution. [The sandbox](../../sandbox.md) says what a statement may "
        "do.",
        BACKENDS,
        'gym.make("Text2SQL-v0", tasks=[{{"database": "{name}:///...", ...}}])',
    ),
    Kind(
        "ESTIMATORS",
        "estimators",
        "Credit estimators",
        "From the rewards of a group to an advantage for every step; in the package `agents`.",
        ESTIMATORS,
        'agents.credit.ESTIMATORS["{name}"](...)',
        elsewhere="../../credit/",
    ),
)


def pages() -> dict[str, str]:
    """Return every page, by its path below the folder of reference."""
    found: dict[str, str] = {}
    links = _links()
    for kind in KINDS:
        found[f"{kind.folder}/index.md"] = _index(kind)
        for name, entry in _own_pages(kind):
            found[f"{kind.folder}/{name}.md"] = _page(kind, name, entry, links)
    return found


def _own_pages(kind: Kind) -> Iterable[tuple[str, Any]]:
    return () if kind.elsewhere else kind.entries.items()


def write_pages(folder: Path) -> None:
    """Make `folder` hold exactly the pages; those that did not change are left untouched."""
    wanted = {folder / path: text for path, text in pages().items()}
    for path in folder.rglob("*.md"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def _index(kind: Kind) -> str:
    at = kind.elsewhere
    rows = [(f"[`{name}`]({at}{name}.md)", kind.summary(e)) for name, e in kind.entries.items()]
    names = "\n".join(f"{at}{name}" for name in kind.entries)
    toctree = code_block(f":hidden:\n\n{names}", "{toctree}")
    return "\n\n".join([f"# {kind.title}", kind.intro, table(("name", "what"), rows), toctree, ""])


def _page(kind: Kind, name: str, entry: Any, links: Links) -> str:
    target = documented(entry)
    facts = [
        ("use", f"`{kind.use.format(name=name)}`"),
        ("code", f"`{target.__module__}.{target.__qualname__}`"),
    ]
    parts = [f"# {name}", table(("", ""), facts), described(target, links)]
    parts += [arguments(entry, links), kind.more(name, entry, links)]
    return "\n\n".join([part for part in parts if part]) + "\n"


def _links() -> dict[str, str]:
    """Where a name in single backticks leads: the page of the entry it is, or that it documents.

    Names that are plain words are left alone: `outcome` is a scheme, and much else. The path of a
    guide leads there.
    """
    links: dict[str, str] = {}
    for kind in KINDS:
        links[kind.registry] = f"../{kind.folder}/index.md"
        for name, entry in kind.entries.items():
            page = f"{kind.elsewhere or f'../{kind.folder}/'}{name}.md"
            links.setdefault(name, page)
            links.setdefault(documented(entry).__name__, page)
    named = {name: page for name, page in links.items() if name.lower() != name or "_" in name}
    guides = (path.name for path in Path(__file__).parent.glob("*.md"))
    return named | {f"docs/{name}": f"../../{name}" for name in guides}

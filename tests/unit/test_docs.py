"""The pages of the documentation: every registry entry has one, and none is stale."""

import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gymnasium as gym
import pytest

import text2sql_gym
from text2sql_gym.matching import MATCHERS
from text2sql_gym.matching.strict import Strict
from text2sql_gym.protocols import PROTOCOLS
from text2sql_gym.registry import lookup

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module", autouse=True)
def docs_on_the_path():
    sys.path.insert(0, str(DOCS))
    yield
    sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def reference(docs_on_the_path):
    return importlib.import_module("reference")


@pytest.fixture(scope="module")
def docstrings(docs_on_the_path):
    return importlib.import_module("docstrings")


@pytest.fixture(scope="module")
def pages(reference):
    return reference.pages()


def registries():
    """Every registry of the environment: a mapping of names that a package shows."""
    for path in sorted(Path(text2sql_gym.__file__).parent.glob("*/__init__.py")):
        package = importlib.import_module(f"text2sql_gym.{path.parent.name}")
        for name, value in vars(package).items():
            if name.isupper() and isinstance(value, Mapping):
                yield name, value


def test_every_registry_entry_has_a_page_that_tells_its_docstring(reference, pages):
    kinds = {kind.registry: kind for kind in reference.KINDS}
    found = list(registries())
    assert len(found) >= 7
    for registry, entries in found:
        assert kinds[registry].entries is entries
        for name, entry in entries.items():
            page = pages[f"{kinds[registry].folder}/{name}.md"]
            target = reference.documented(entry)
            assert page.startswith(f"# {name}\n")
            assert inspect.getdoc(target).split("\n")[0].partition("`")[0] in page
            assert f"{target.__module__}.{target.__qualname__}" in page


def test_every_environment_of_the_package_has_a_page_in_gymnasiums_form(pages):
    ours = [spec for spec in gym.registry.values() if "text2sql_gym" in str(spec.entry_point)]
    assert ours
    for spec in ours:
        page = pages[f"environments/{spec.id}.md"]
        for part in ("Description", "Action Space", "Observation Space", "Rewards", "Episode End",
                     "Information", "Arguments", "Version History"):
            assert f"\n## {part}\n" in page, part
        if spec.vector_entry_point is not None:
            page = pages[f"vector_environments/{spec.id}.md"]
            assert "`gym.make_vec(" in page and "\n## Description\n" in page
            assert "= AutoresetMode.NEXT_STEP,\n    **arguments: Any,\n" in page


def test_every_page_is_reached_from_the_index_of_its_kind(reference, pages):
    for kind in reference.KINDS:
        index = pages[f"{kind.folder}/index.md"]
        own = {path for path in pages if path.startswith(f"{kind.folder}/")}
        entries = {} if kind.elsewhere else kind.entries
        assert own == {f"{kind.folder}/index.md", *(f"{kind.folder}/{name}.md" for name in entries)}
        for name in kind.entries:
            assert f"]({kind.elsewhere}{name}.md)" in index
            assert f"\n{kind.elsewhere}{name}\n" in index


def test_the_front_page_names_every_kind_once(reference):
    front = (DOCS / "index.md").read_text().splitlines()
    kinds = [f"reference/{kind.folder}/index" for kind in reference.KINDS]
    assert [line for line in front if line.startswith("reference/")] == kinds


def test_links_lead_to_pages(pages):
    for path, text in pages.items():
        targets = re.findall(r"\]\((?!https?:)([^)]+\.md)\)", text)
        for target in targets:
            file = (DOCS / "reference" / path).parent / target
            inside = file.resolve().is_relative_to((DOCS / "reference").resolve())
            if inside:
                assert str(file.resolve().relative_to((DOCS / "reference").resolve())) in pages
            else:
                assert file.resolve().is_file(), (path, target)


def test_a_new_entry_has_a_page_and_one_that_went_leaves_none(reference, monkeypatch, tmp_path):
    reference.write_pages(tmp_path)
    first = tmp_path / "matchers/strict.md"
    before = first.stat().st_mtime_ns
    monkeypatch.setitem(MATCHERS, "new_rule", partial(Strict, variants=7))
    reference.write_pages(tmp_path)
    page = (tmp_path / "matchers/new_rule.md").read_text()
    assert "| `variants` | `int` | `7` |" in page and "| `seed` | `int` | `0` |" in page
    assert "With `variants=7`." in (tmp_path / "matchers/index.md").read_text()
    assert first.stat().st_mtime_ns == before  # not written again, so not built again
    monkeypatch.delitem(MATCHERS, "new_rule")
    reference.write_pages(tmp_path)
    assert not (tmp_path / "matchers/new_rule.md").exists()
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.md")}
    assert written == set(reference.pages())


def test_an_object_shows_its_own_values(reference, pages):
    scheme = lookup(reference.SCHEMES, "finestep", "reward scheme")
    page = pages["schemes/finestep.md"]
    assert f"`{dict(scheme.outcome)!r}`" in page
    assert "| `process_scale` | `float` | `0.1` | share of the process sum" in page


@pytest.mark.parametrize(
    ("registry", "page", "entry"),
    [
        ("REWARDS", "rewards/hard_constraints.md", "hard_constraints"),
        ("DATASETS", "datasets/synthetic.md", "synthetic"),
    ],
)
def test_a_listing_of_arguments_stands_in_their_table_and_nowhere_else(
    reference, pages, registry, page, entry
):
    target = reference.documented(getattr(reference, registry)[entry])
    found = re.findall(r"^(\w+)  +(\S.{10,20})", inspect.getdoc(target), re.MULTILINE)
    assert len(found) >= 4
    for field, meaning in found:
        assert pages[page].count(meaning) == 1
        assert re.search(rf"\| `{field}` \| `.*` \| `.*` \| {re.escape(meaning)}", pages[page])


def test_every_argument_is_explained(pages):
    rows = [
        row
        for page in pages.values()
        for row in page.partition("\n## Arguments\n\n")[2].partition("\n\n")[0].split("\n")
        if row.startswith("| `")
    ]
    assert len(rows) > 40
    assert [row for row in rows if not re.fullmatch(r"\| `\w+` \| .+ \| .+ \| .{9,} \|", row)] == []


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocols_page_shows_turns_that_the_protocol_reads(name, reference, pages):
    protocol, page = PROTOCOLS[name](), pages[f"protocols/{name}.md"]
    for part in ("Description", "Arguments", "Prompt", "Action space", "Observation space"):
        assert f"\n## {part}\n" in page
    shown = page.partition("## Action space")[2].partition(":class: wrapped\n\n")[2]
    first, *_ = shown.partition("\n```")[0].split("\n\n")
    assert protocol.parse(first).tool == protocol.tools[0]
    assert ("## Tool schemas" in page) == bool(protocol.tool_schemas)


def test_names_of_entries_are_linked_and_plain_words_are_not(pages):
    page = pages["environments/Text2SQL-v0.md"]
    assert "[`PROTOCOLS`](../protocols/index.md)" in page
    assert "`outcome`" in page and "[`outcome`]" not in page
    assert "[`docs/rewards.md`](../../rewards.md)" in page


@pytest.mark.slow
def test_the_documentation_builds_without_a_warning(tmp_path):
    for needed in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(needed, reason="needs the extra docs")
    options = ["--quiet", "--fail-on-warning", "--keep-going", "-d", str(tmp_path / "cache")]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(tmp_path / "site")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stderr) == (0, "")
    assert (tmp_path / "site/reference/matchers/strict.html").is_file()


LISTING = """What it is.

style    "full" or "compact", with a <tag>
         and `Other`
a|b  no listing: not a name
"""


def test_a_listing_of_fields_is_a_table_only_when_its_columns_align(docstrings):
    assert docstrings.listed(LISTING) == {}
    assert docstrings.listed("one  first\nlonger  second") == {}
    aligned = LISTING.rsplit("\n", 2)[0]
    assert docstrings.listed(aligned) == {"style": '"full" or "compact", with a <tag> and `Other`'}
    assert docstrings.as_markdown(aligned, {"Other": "other.md"}) == (
        "What it is.\n\n| name | meaning |\n| --- | --- |\n"
        '| `style` | "full" or "compact", with a \\<tag> and [`Other`](other.md) |'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain a_b * c", "plain a_b * c"),
        ("a < b and ``x < y``", "a \\< b and ``x < y``"),
        ("see `Other`, ``Other``", "see [`Other`](other.md), ``Other``"),
        ("arXiv 2605.04719.", "[arXiv:2605.04719](https://arxiv.org/abs/2605.04719)."),
        ("so\n\n    a = b\n\n      + c\n\nend", "so\n\n```text\na = b\n\n  + c\n```\n\nend"),
        ("", ""),
        ("- one\n  more\n- two", "- one\n  more\n- two"),
    ],
)
def test_a_docstring_becomes_markdown(docstrings, text, expected):
    assert docstrings.as_markdown(text, {"Other": "other.md"}) == expected


def test_a_table_keeps_bars_and_line_breaks_inside_its_cells(docstrings):
    assert docstrings.table(("a",), [("`int | None`",), ("b\nc",)]) == (
        "| a |\n| --- |\n| `int \\| None` |\n| b c |"
    )


def test_a_fence_is_longer_than_those_it_holds(docstrings):
    assert docstrings.code_block("```sql\n```") == "````text\n```sql\n```\n````"


@dataclass
class Documented:
    """A record."""

    size: int = 3
    """how
    many"""
    other: int = 0


def test_texts_below_fields_are_found(docstrings):
    assert docstrings.field_docstrings(Documented) == {"size": "how\nmany"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("One. Two.", "One."), ("1.0 when so,\nelse 0.0. Two", "1.0 when so, else 0.0."), ("", "")],
)
def test_the_first_sentence_ends_at_a_full_stop(docstrings, text, expected):
    assert docstrings.first_sentence(text, {}) == expected

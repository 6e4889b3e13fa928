"""The example of the README runs as it stands there."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs_and_ends_in_a_match(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXT2SQL_CACHE", str(tmp_path))
    example = re.search(r"## An episode\n\n```python\n(.*?)```", README, re.DOTALL)[1]
    assert len([line for line in example.splitlines() if line.strip()]) <= 16
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {})
    shown = printed.getvalue()
    assert "Question: " in shown and "CREATE TABLE" in shown
    assert "</result> 0.0 ok\n" in shown
    assert "</result> 1.1 match {'execution_match': 1.0, " in shown


def test_every_file_and_folder_of_the_tree_exists():
    tree = re.search(r"## What is where\n\n```\n(.*?)```", README, re.DOTALL)[1]
    folder, missing = "", []
    for line in tree.splitlines():
        name = re.match(r"(?:[├└]── )?(\S+)", line)
        if name is None or line.startswith(" "):
            continue
        nested = line.startswith(("├", "└"))
        folder = folder if nested else name[1]
        path = ROOT / (folder + name[1] if nested else name[1])
        if not path.exists():
            missing.append(str(path))
    assert not missing


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_no_document_names_a_file_of_the_package_that_is_not_there(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:text2sql_gym|agents|experiments|tests|docs)/[\w/]+\.\w+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []

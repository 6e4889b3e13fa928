"""docs/matching.md says what the matchers do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from text2sql_gym.errors import ToolError
from text2sql_gym.matching import MATCHERS
from text2sql_gym.matching.strict import Strict
from text2sql_gym.types import Limits

PAGE = (Path(__file__).parents[3] / "docs" / "matching.md").read_text()
SECTION = PAGE.split("## Examples")[1].split("\n## ")[0]
TABLE = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in SECTION.splitlines()
    if line.startswith("|")
]
NAMES = [name.strip("` |") for name in TABLE[0][-5:]]
EXAMPLES = TABLE[2:]


@pytest.fixture(scope="module")
def pets(open_database):
    return open_database(re.search(r"```sql\n(.*?)```", SECTION, re.DOTALL)[1])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example[0])
@pytest.mark.parametrize("place", range(len(NAMES)), ids=NAMES)
def test_an_example_of_the_page_is_scored_as_it_says(example, place, pets):
    gold_sql, predicted, *scores = (cell.strip("` ") for cell in example[1:])
    matcher, limits = MATCHERS[NAMES[place]](), Limits()
    gold = matcher.prepare(gold_sql, pets, limits)
    if scores[place] == "–":
        with pytest.raises(ToolError):
            pets.execute(predicted, max_rows=10)
        return
    table = pets.execute(predicted, max_rows=limits.compared_rows)
    assert f"{matcher(predicted, table, gold, pets, limits):.2g}" == scores[place]


def test_every_matcher_is_on_the_page():
    for name in MATCHERS:
        assert f"| `{name}` |" in PAGE


def test_the_defaults_on_the_page_are_those_of_the_code():
    assert Strict() == Strict(relative=1e-9, max_arrangements=120, variants=2)
    assert "two by default" in PAGE and "1e-9" in PAGE and "120 arrangements" in PAGE

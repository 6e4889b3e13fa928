"""The estimators' pages: their worked examples are right, and the files are the generated ones."""

import xml.etree.ElementTree as Xml

import numpy as np
import pytest

from agents.credit import ESTIMATORS
from experiments import bench_credit, credit_pages
from experiments.credit_examples import WORKED
from experiments.credit_pages import FOLDER, STEPS, contents, credit_of, shared_group

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", ESTIMATORS)
class TestEveryEstimator:
    def test_gives_the_credit_of_its_worked_example(self, name):
        credit = credit_of(name, WORKED[name])
        for track, expected in zip(credit, WORKED[name].tracks, strict=True):
            for credit_S, expected_S in zip(track.advantages_GS, expected, strict=True):
                np.testing.assert_allclose(credit_S, expected_S, atol=6e-4)

    def test_has_a_picture_with_a_cell_per_step(self, name):
        picture = Xml.fromstring(contents()[f"{name}.svg"])
        texts = [element.text for element in picture.iter(f"{SVG}text")]
        assert texts[1::2] == [step for attempt in STEPS for step in attempt]
        assert all(number[0] in "+-" for number in texts[2::2])


def test_the_folder_holds_the_generated_pages_and_nothing_else():
    written = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.iterdir()}
    assert written == contents(), "run: python experiments/credit_pages.py"


def test_a_page_has_the_row_of_its_estimator_from_the_leaderboard(tmp_path, monkeypatch):
    head = "| variant | area |\n|---|---|\n"
    text = (
        "# Page\n\n## Estimators with their defaults (menu)\n\n"
        f"{head}| gigpo | 0.8 |\n| grpo | 0.7 |\n\n| | 0.1 |\n\n## Other\n\n{head}| rloo | 0.9 |\n"
    )
    (tmp_path / "benchmark.md").write_text(text, encoding="utf-8")
    monkeypatch.setattr(credit_pages, "BENCHMARK", tmp_path / "benchmark.md")
    heading, place, table = credit_pages.benchmark_row("grpo")
    assert "Number 2 of 2" in place and table == f"{head}| grpo | 0.7 |\n"
    assert credit_pages.benchmark_row("rloo") == []


def test_the_shared_group_is_consistent_with_its_story():
    group = shared_group()
    assert group.steps_G == tuple(map(len, STEPS))
    for value_S, after_S, outcome in zip(
        group.learned("values"), group.learned("step_score"), group.outcome_G, strict=True
    ):
        np.testing.assert_array_equal(after_S[:-1], value_S[1:])
        assert after_S[-1] == outcome


def test_the_page_of_what_credit_costs_has_every_estimator_below_its_bound():
    lines = [line.split("|")[1:-1] for line in bench_credit.PAGE.read_text().splitlines()
             if line.startswith("| ")][2:]
    rows = {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}
    assert set(rows) >= set(ESTIMATORS)
    assert all(float(cells[0]) < bench_credit.BUDGET for cells in rows.values())
    apart = [float(cells[-1]) for cells in rows.values() if cells[-1]]
    assert len(apart) >= 10 and max(apart) < 1e-5, "verl's functions give the same credit"

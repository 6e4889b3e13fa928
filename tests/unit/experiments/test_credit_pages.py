"""The estimators' pages: their worked examples are right, and the files are the generated ones."""

import xml.etree.ElementTree as Xml

import numpy as np
import pytest

from agents.credit import ESTIMATORS
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


def test_the_shared_group_is_consistent_with_its_story():
    group = shared_group()
    assert group.steps_G == tuple(map(len, STEPS))
    for value_S, after_S, outcome in zip(
        group.learned("values"), group.learned("step_score"), group.outcome_G, strict=True
    ):
        np.testing.assert_array_equal(after_S[:-1], value_S[1:])
        assert after_S[-1] == outcome

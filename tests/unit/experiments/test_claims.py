"""The claims of papers: verdicts by hand, and a page that is that of the stored results."""

import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from experiments.claims import (  # noqa: E402
    CLAIMS,
    PAGE,
    RESULTS,
    Claim,
    difference,
    measured,
    page,
    verdict,
)
from experiments.credit_benchmark.page import Stored  # noqa: E402
from experiments.credit_benchmark.statistics import Estimate  # noqa: E402


def runs(name, areas, calls=()):
    finals = calls or areas
    return [
        {"variant": name, "seed": seed, "area": area, "final": {"calls": call}}
        for seed, (area, call) in enumerate(zip(areas, finals, strict=True))
    ]


@pytest.mark.parametrize(
    ("low", "high", "expected", "said"),
    [
        (0.01, 0.2, "more", "holds"),
        (-0.01, 0.2, "more", "undecided"),
        (-0.2, -0.01, "more", "does not"),
        (-0.2, -0.01, "less", "holds"),
        (0.01, 0.2, "less", "does not"),
        (-0.2, 0.01, "less", "undecided"),
        (-0.03, 0.03, "same", "holds"),
        (0.01, 0.04, "same", "undecided"),
        (0.031, 0.2, "same", "does not"),
        (-0.2, -0.031, "same", "does not"),
    ],
)
def test_a_verdict_follows_from_the_interval_and_what_was_expected(low, high, expected, said):
    assert verdict(Estimate((low + high) / 2, low, high), expected) == said


def test_runs_are_compared_with_those_of_the_same_seed():
    one, other = runs("a", [0.9, 0.5, 0.1]), runs("b", [0.8, 0.4, 0.0])
    found = difference(one, other[::-1], "area")
    assert (found.low, found.value, found.high) == pytest.approx((0.1, 0.1, 0.1))
    with pytest.raises(ValueError, match="seeds differ"):
        difference(one, other[:2], "area")


def test_calls_are_those_at_the_end():
    one, other = runs("a", [0, 0], [1.0, 2.0]), runs("b", [0, 0], [3.0, 4.0])
    assert difference(one, other, "calls").value == pytest.approx(-2.0)


def test_a_claim_about_estimators_is_looked_up_in_every_tier_and_others_in_their_study():
    rows = [*runs("a", [0.5, 0.5]), *runs("b", [0.25, 0.25])]
    studies = [Stored("menu", "estimators", rows), Stored("menu", "other", rows),
               Stored("lm", "language_model", rows)]
    about = Claim("p", "says", "estimators", "a", "b")
    assert [(tier, found.value) for tier, _, found in measured(about, studies)] == [
        ("menu", 0.25), ("lm", 0.25),
    ]
    part = Claim("p", "says", "other", "a", "b")
    assert [tier for tier, _, _ in measured(part, studies)] == ["menu"]
    assert not list(measured(Claim("p", "says", "other", "a", "c"), studies))


def test_a_claim_without_runs_is_said_not_to_be_measured(tmp_path):
    text = page(tmp_path)
    assert text.count("**not measured**") == len(CLAIMS)
    assert "0 holds, 0 does not, 0 undecided" in text


def test_the_page_in_docs_is_that_of_the_stored_results():
    assert PAGE.read_text(encoding="utf-8") == page(RESULTS), "python experiments/claims.py"

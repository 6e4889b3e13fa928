"""The table of the main comparison, from rows written by hand and from the committed ones."""

import pytest

pytest.importorskip("scipy", reason="needs the extra bench")

from experiments.credit_benchmark.page import read_rows  # noqa: E402
from experiments.main_claim import (  # noqa: E402
    BEGIN,
    END,
    RESULTS,
    ROOT,
    measured,
    replaced,
    table,
)


def row(variant, seed, before, after, redundant):
    def numbers(ex, repeats):
        return {
            "ex": ex, "calls": 1.0, "redundant_calls": repeats, "error_calls": 0.0,
            "grades": {"easy": ex, "medium": ex},
        }

    return {
        "variant": variant, "seed": seed, "rate": 5e-4,
        "before": numbers(before, 0.4), "final": numbers(after, redundant),
    }


ROWS = [
    row("finestep", 1, 0.4, 0.7, 0.1),
    row("finestep", 0, 0.4, 0.5, 0.1),
    row("grpo", 0, 0.4, 0.5, 0.4),
    row("grpo", 1, 0.4, 0.6, 0.6),
]


def test_means_and_intervals_are_those_of_students_t():
    # two values d apart: standard error d / 2, t quantile 12.706 with one degree of freedom
    shown = table(ROWS)
    assert (
        "| 0.400 (0.400 to 0.400) | 0.600 (-0.671 to 1.871) | 0.550 (-0.085 to 1.185) |" in shown
    )
    assert "over its warm start: +0.200 (-1.071 to +1.471)" in shown


def test_every_variant_has_a_column_in_the_order_of_the_rows():
    shown = table([*ROWS, row("gigpo", 0, 0.4, 0.5, 0.2)])
    rate = "(rate 0.0005, {} runs)".format
    heads = f"| | warm start | FineStep {rate(2)} | GRPO {rate(2)} | GiGPO {rate(1)} |"
    assert shown.startswith(f"{heads}\n|---|---|---|---|---|\n") and "| 0.200 |" in shown


def test_runs_of_one_warm_start_count_as_one():
    """Seed 5 begins where seed 0 does."""
    more = [row("finestep", 5, 0.2, 0.7, 0.3), row("grpo", 5, 0.2, 0.3, 0.2)]
    assert measured([*ROWS[:2], more[0]], "final", "ex").tolist() == pytest.approx([0.6, 0.7])
    shown = table([*ROWS, *more])
    assert "| 0.350 (-0.285 to 0.985) |" in shown  # warm starts of 0.3 and 0.4
    assert "minus that of GRPO: +0.150 (-0.485 to +0.785)" in shown  # 0.6 - 0.4 and 0.7 - 0.6


def test_comparisons_are_paired_by_warm_start():
    shown = table(ROWS)
    assert "minus that of GRPO: +0.050 (-0.585 to +0.685)" in shown  # of 0.0 and 0.1
    assert "80% fewer than GRPO's; difference -0.400 (-1.671 to +0.871)" in shown


def test_only_what_stands_between_the_marks_is_replaced():
    assert replaced(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb"
    with pytest.raises(ValueError, match="expected the marks"):
        replaced("nothing", "new")


def test_the_readme_shows_the_committed_results():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert replaced(page, table(read_rows(RESULTS))) == page, "run main_claim --write"

"""Tables of evaluations, with intervals."""

import numpy as np
import pytest
from experiments.evaluation import Evaluation
from experiments.tables import compare, describe, interval, label


def evaluation(ex, *, grades=("easy", "hard"), tables=(1, 2), too_long=0, samples=0, **columns):
    count = len(ex)
    names = {"ex": ex, **columns}
    return Evaluation(
        tuple(f"t/{place}" for place in range(count)),
        tuple(grades[place % len(grades)] for place in range(count)),
        tuple(tables[place % len(tables)] for place in range(count)),
        tuple({name: float(values[place]) for name, values in names.items()}
              for place in range(count)),
        too_long,
        samples,
    )


def cells(table):
    """The cells of each line by its label."""
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}


def test_the_difference_is_paired():
    # every task gains exactly 1 call, so the interval has no width though the means vary a lot
    before = evaluation([0, 1, 0, 1], calls=[0, 9, 3, 7])
    after = evaluation([0, 1, 0, 1], calls=[1, 10, 4, 8])
    found = cells(compare(before, after))
    assert found["calls"] == ["4.750", "5.750", "+1.000 (+1.000 to +1.000)"]
    assert found["ex"] == ["0.500", "0.500", "+0.000 (+0.000 to +0.000)"]
    assert found["ex, easy (2)"][:2] == ["0.000", "0.000"]
    assert found["ex, hard (2)"][:2] == ["1.000", "1.000"]
    assert found["ex, 1 table (2)"][0] == "0.000" and found["ex, 2 tables (2)"][0] == "1.000"


def test_the_direction_is_after_minus_before():
    found = cells(compare(evaluation([0, 0, 0]), evaluation([1, 1, 1])))
    assert found["ex"][2] == "+1.000 (+1.000 to +1.000)"


def test_other_tasks_cannot_be_compared():
    with pytest.raises(ValueError, match="same tasks"):
        compare(evaluation([0, 1]), evaluation([0, 1, 0]))


def test_the_table_says_what_was_left_out_and_what_was_sampled():
    one = evaluation([0, 1], too_long=1, samples=4, pass_at_k=[1, 1], majority_vote=[0, 1])
    text = compare(one, one)
    assert text.startswith("2 tasks, one greedy attempt each and 4 sampled ones; 1 prompts")
    assert {"pass@4", "majority vote of 4"} <= cells(text).keys()


def test_an_unknown_difficulty_or_number_of_tables_has_no_line():
    assert list(cells(describe(evaluation([0, 1], grades=("",), tables=(0,))))) == ["", "ex"]


def test_nothing_evaluated_says_so():
    nothing = evaluation([])
    assert compare(nothing, nothing) == describe(nothing) == "no tasks were evaluated\n"


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide():
    values = np.random.default_rng(1).normal(5.0, 2.0, size=400)
    low, high = interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 2.0 / 20, rel=0.15)


def test_the_interval_of_equal_values_has_no_width():
    assert interval(np.full(7, 0.3)) == pytest.approx((0.3, 0.3))


def test_scores_are_described_by_difficulty_and_compared_as_a_whole():
    one = evaluation([0, 1], soft_f1=[0, 0.5], r_ves=[0, 100])
    found = cells(describe(one))
    assert found["R-VES, hard (1)"] == ["100.000", "100.000 to 100.000"]
    assert found["soft F1, 2 tables (1)"] == ["0.500", "0.500 to 0.500"]
    assert "soft F1" in cells(compare(one, one))
    assert not any(name.startswith(("soft F1,", "R-VES,")) for name in cells(compare(one, one)))
    assert label("redundant_calls", 0) == "redundant calls"

import pytest

from agents.credit import ESTIMATORS
from agents.credit.__main__ import PAGE, TAKES, page, takes
from agents.credit.base import SIGNALS


def test_the_table_of_algorithms_is_fresh():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m agents.credit"


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("grpo", ["groups"]),
        ("lite_ppo", ["groups"]),
        ("reinforce_pp", []),
        ("gae", ["a critic"]),
        ("remax", ["a greedy attempt per task"]),
        ("tree_grpo", ["groups", "attempts that branch off others"]),
        ("dual_track", ["groups", "a protocol with proposals"]),
        ("pav", ["groups", "rollouts from every state"]),
    ],
)
def test_the_table_says_what_an_estimator_takes_beside_one_attempt(name, taken):
    assert takes(ESTIMATORS[name]()) == taken


def test_every_signal_that_takes_something_is_one():
    assert set(TAKES) - {"trees"} <= set(SIGNALS)

"""Laws that every credit estimator obeys; a new entry of ESTIMATORS is tested by existing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.credit import ESTIMATORS
from agents.credit.base import GroupSignals, signals

rewards = st.floats(-2, 2).map(lambda x: round(x, 3))


@st.composite
def groups(draw, min_attempts=1):
    """Draw a group of one to five attempts with one to four steps each, states included."""
    lengths = draw(st.lists(st.integers(1, 4), min_size=min_attempts, max_size=5))
    outcomes = [draw(rewards) for _ in lengths]
    process = [[draw(rewards) for _ in range(n)] for n in lengths]
    states = tuple(tuple(draw(st.sampled_from("abc")) for _ in range(n)) for n in lengths)
    return signals(outcomes, process, states_GS=states)


def reorder(group, order):
    """Return the group with its attempts in another order."""
    return GroupSignals(
        group.outcome_G[order],
        tuple(group.process_GS[i] for i in order),
        tuple(group.states_GS[i] for i in order),
        {name: tuple(rows[i] for i in order) for name, rows in group.learned_GS.items()},
    )


@pytest.mark.parametrize("name", ESTIMATORS)
class TestEveryEstimator:
    @given(group=groups())
    @settings(max_examples=40, deadline=None)
    def test_credit_has_the_shape_of_the_steps_and_is_finite(self, name, group):
        credit = ESTIMATORS[name]()(group)
        assert len(credit) >= 1
        for track in credit:
            assert [a.shape for a in track.advantages_GS] == [(n,) for n in group.steps_G]
            assert all(np.isfinite(a).all() and a.dtype == np.float64 for a in track.advantages_GS)

    @pytest.mark.parametrize("reward", [0.0, 0.1, 1 / 3, -1.0])
    @pytest.mark.parametrize("lengths", [[1, 1, 1], [2, 2, 2], [3, 1, 2], [1], [7]])
    def test_equal_rewards_give_exactly_zero(self, name, reward, lengths):
        group = signals(
            [reward] * len(lengths),
            [[reward] * n for n in lengths],
            states_GS=tuple(("s",) * n for n in lengths),
        )
        for track in ESTIMATORS[name]()(group):
            for advantages_S in track.advantages_GS:
                np.testing.assert_array_equal(advantages_S, 0.0)

    @given(group=groups(min_attempts=2), data=st.data())
    @settings(max_examples=40, deadline=None)
    def test_the_order_of_attempts_does_not_matter(self, name, group, data):
        order = data.draw(st.permutations(range(len(group.steps_G))))
        straight = ESTIMATORS[name]()(group)
        permuted = ESTIMATORS[name]()(reorder(group, order))
        for before, after in zip(straight, permuted, strict=True):
            for place, attempt in enumerate(order):
                np.testing.assert_allclose(
                    after.advantages_GS[place], before.advantages_GS[attempt], atol=1e-9
                )

    @given(group=groups())
    @settings(max_examples=20, deadline=None)
    def test_the_group_is_not_changed(self, name, group):
        before = reorder(group, list(range(len(group.steps_G))))
        kept = [process_S.copy() for process_S in before.process_GS]
        ESTIMATORS[name]()(group)
        for process_S, copy_S in zip(group.process_GS, kept, strict=True):
            np.testing.assert_array_equal(process_S, copy_S)

    def test_an_estimator_says_what_it_needs_and_where_it_is_from(self, name):
        estimator = ESTIMATORS[name]
        assert estimator.needs and estimator.granularity and estimator.source
        assert estimator() == estimator(), "an estimator is a value"

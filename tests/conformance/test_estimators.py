"""Laws that every credit estimator obeys; a new entry of ESTIMATORS is tested by existing."""

import inspect
import re
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.credit import ESTIMATORS, BatchEstimator, assign
from agents.credit.base import SIGNALS, GroupSignals
from credit_groups import NEUTRAL, groups, learned_needs, reorder, uniform_group

WRONG = [
    ("gamma", 1.001),
    ("gamma", -0.001),
    ("lam", 1.001),
    ("lam", -0.001),
    ("similarity", 1.001),
    ("epsilon", -1e-12),
    ("schema_weight", -0.1),
    ("clamp", -1.0),
    ("norm", 0.0),
    ("scale", "std"),
    ("singleton", "nan"),
    ("form", "draft"),
    ("compare", "outer"),
    ("mode", "one"),
    ("baseline", "none"),
]


@pytest.mark.parametrize("name", ESTIMATORS)
class TestEveryEstimator:
    @given(data=st.data())
    @settings(max_examples=40, deadline=None)
    def test_credit_has_the_shape_of_the_steps_and_is_finite(self, name, data):
        group = data.draw(groups(name))
        credit = ESTIMATORS[name]()(group)
        assert len(credit) >= 1
        for track in credit:
            assert [a.shape for a in track.advantages_GS] == [(n,) for n in group.steps_G]
            assert all(np.isfinite(a).all() and a.dtype == np.float64 for a in track.advantages_GS)
            if track.mask_GS is not None:
                assert [m.shape for m in track.mask_GS] == [(n,) for n in group.steps_G]

    def test_its_docstring_has_equation_unit_degenerate_cases_and_what_is_our_choice(self, name):
        text = inspect.cleandoc(ESTIMATORS[name].__doc__)
        assert re.search(r"\n\n    .*_\w+.* = ", text), "no equation whose names tell their shape"
        words = " ".join(text.split()).lower()
        for part in ("units: ", "degenerate ", "our choice"):
            assert part in words
        assert ESTIMATORS[name].source

    @pytest.mark.parametrize("reward", [0.0, 0.1, 1 / 3, -1.0])
    @pytest.mark.parametrize("lengths", [[1, 1, 1], [2, 2, 2], [5] * 7, [1], [7]])
    def test_equal_rewards_give_exactly_zero(self, name, reward, lengths):
        if "values" in ESTIMATORS[name].needs:
            reward = 0.0  # a critic that knows no reward is right only where there is none
        for track in ESTIMATORS[name]()(uniform_group(name, reward, lengths)):
            for advantages_S in track.advantages_GS:
                np.testing.assert_array_equal(advantages_S, 0.0)

    @pytest.mark.parametrize("lengths", [[3, 1, 2], [1, 4]])
    def test_no_reward_anywhere_gives_exactly_zero_whatever_the_lengths(self, name, lengths):
        group = uniform_group(name, 0.0, lengths, paid=0.0)
        for track in ESTIMATORS[name]()(group):
            for advantages_S in track.advantages_GS:
                np.testing.assert_array_equal(advantages_S, 0.0)

    @given(data=st.data())
    @settings(max_examples=40, deadline=None)
    def test_the_order_of_attempts_does_not_matter(self, name, data):
        group = data.draw(groups(name, min_attempts=2))
        order = data.draw(st.permutations(range(len(group.steps_G))))
        straight = ESTIMATORS[name]()(group)
        permuted = ESTIMATORS[name]()(reorder(group, order))
        for before, after in zip(straight, permuted, strict=True):
            for place, attempt in enumerate(order):
                np.testing.assert_allclose(
                    after.advantages_GS[place], before.advantages_GS[attempt], atol=1e-9
                )

    @given(data=st.data())
    @settings(max_examples=20, deadline=None)
    def test_the_group_is_not_changed(self, name, data):
        group = data.draw(groups(name))
        rows = [*group.process_GS, *(r for rows in group.learned_GS.values() for r in rows)]
        kept = [row_S.copy() for row_S in [group.outcome_G, *rows]]
        ESTIMATORS[name]()(group)
        for row_S, copy_S in zip([group.outcome_G, *rows], kept, strict=True):
            np.testing.assert_array_equal(row_S, copy_S)

    @given(data=st.data())
    @settings(max_examples=20, deadline=None)
    def test_a_batch_has_one_credit_per_group_and_a_batch_of_one_is_the_call(self, name, data):
        batch = [data.draw(groups(name)) for _ in range(3)]
        estimator = ESTIMATORS[name]()
        credits = assign(estimator, batch)
        assert len(credits) == 3
        for credit, group in zip(credits, batch, strict=True):
            shapes = [a.shape for a in credit[0].advantages_GS]
            assert shapes == [(n,) for n in group.steps_G]
        for alone, call in zip(assign(estimator, batch[:1])[0], estimator(batch[0]), strict=True):
            for a, b in zip(alone.advantages_GS, call.advantages_GS, strict=True):
                np.testing.assert_array_equal(a, b)

    @given(data=st.data(), scale=st.sampled_from([0.5, 3.0]), shift=st.sampled_from([-1.0, 2.0]))
    @settings(max_examples=20, deadline=None)
    def test_outcomes_on_another_scale_give_the_same_credit_where_that_is_claimed(
        self, name, data, scale, shift
    ):
        if name not in INVARIANT:
            return
        group = data.draw(groups(name, min_attempts=2))
        estimator = ESTIMATORS[name](epsilon=1e-10)  # 0 would blow up rounding errors
        moved = GroupSignals(
            scale * group.outcome_G + shift,
            group.process_GS,
            group.states_GS,
            group.learned_GS,
            group.trees_G,
        )
        for before, after in zip(estimator(group), estimator(moved), strict=True):
            for a, b in zip(before.advantages_GS, after.advantages_GS, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-5)

    def test_an_estimator_says_what_it_needs_and_where_it_is_from(self, name):
        estimator = ESTIMATORS[name]
        assert estimator.needs and estimator.granularity and estimator.source
        assert set(learned_needs(name)) <= set(NEUTRAL) == set(SIGNALS)
        assert estimator() == estimator(), "an estimator is a value"
        assert isinstance(estimator(), BatchEstimator) == hasattr(estimator, "batch")

    @pytest.mark.parametrize(("field", "value"), WRONG)
    def test_a_setting_out_of_range_is_refused(self, name, field, value):
        if field not in {f.name for f in fields(ESTIMATORS[name])}:
            return
        with pytest.raises(ValueError, match=f"{field} must be"):
            ESTIMATORS[name](**{field: value})

    def test_a_missing_signal_is_named(self, name):
        for need in learned_needs(name):
            group = uniform_group(name, 1.0, [2, 1])
            # unequal, so that no estimator stops before it looks
            group = GroupSignals(np.array([0.0, 1.0]), group.process_GS, group.states_GS)
            with pytest.raises(ValueError, match="needs the signal"):
                ESTIMATORS[name]()(group)


# credit does not change when outcomes become scale * outcome + shift
INVARIANT = {
    "grpo",
    "lite_ppo",
    "pass_at_k",
    "reinforce_pp",
    "reinforce_pp_baseline",
    "process_grpo",
    "tree_grpo",
}

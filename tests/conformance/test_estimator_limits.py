"""Limits that tie two estimators together, and what each one must not look at."""

from dataclasses import replace

import numpy as np
import pytest
from credit_groups import NEUTRAL, groups_of, learned_needs
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.credit import ESTIMATORS
from agents.credit.base import signals
from agents.credit.ragged import attempt_sums

ANY = st.lists(st.integers(1, 4), min_size=1, max_size=5)
TWO_STEPS_OR_MORE = st.lists(st.integers(2, 4), min_size=1, max_size=5)
ONE_STEP = st.integers(1, 5).map(lambda attempts: [1] * attempts)


def credit(name, group, **options):
    """The credit of an estimator's last track, flat."""
    return np.concatenate(ESTIMATORS[name](**options)(group)[-1].advantages_GS)


def with_learned(group, **learned):
    """Replace signals; a number stands for the same number at every step."""
    rows = {
        name: tuple(np.full(n, value) for n in group.steps_G) if np.isscalar(value) else value
        for name, value in learned.items()
    }
    return replace(group, learned_GS={**group.learned_GS, **rows})


def outcome_as_steps(group):
    """The outcome of each attempt as a number per step."""
    return tuple(np.full(n, x) for n, x in zip(group.steps_G, group.outcome_G, strict=True))


def grpo(group, epsilon=1e-6, **options):
    return credit("grpo", group, epsilon=epsilon, **options)


# name of the limit: lengths of the attempts it holds for, one side, the other side
LIMITS = {
    "FineStep D3 with lambda = gamma = 1 is GRPO": (
        ANY,
        lambda g: credit("finestep", g, norm="separate", lam=1.0, gamma=1.0),
        lambda g: grpo(g, 1e-4),
    ),
    "FineStep D2 with lambda = gamma = 1 on attempts of one step is GRPO": (
        ONE_STEP,
        lambda g: credit("finestep", g, lam=1.0, gamma=1.0),
        lambda g: grpo(g, 1e-4),
    ),
    "FineStep D4 on attempts of one step is D1": (
        ONE_STEP,
        lambda g: credit("finestep", g, norm="index"),
        lambda g: credit("finestep", g, norm="joint"),
    ),
    "FineStep with lambda 0 is the same in D2 and D3": (
        ANY,
        lambda g: credit("finestep", g, norm="sep_pooled", lam=0.0),
        lambda g: credit("finestep", g, norm="separate", lam=0.0),
    ),
    "FineStep that smooths by 0 does not smooth": (
        ANY,
        lambda g: credit("finestep", g, alpha=0.0, smooth="backward"),
        lambda g: credit("finestep", g, alpha=0.9, smooth="none"),
    ),
    "Dr.GRPO is GRPO without the deviation": (
        ANY,
        lambda g: credit("dr_grpo", g),
        lambda g: grpo(g, scale="none"),
    ),
    "Dr.GRPO is RLOO times (n - 1) / n": (
        ANY,
        lambda g: credit("dr_grpo", g),
        lambda g: credit("rloo", g) * (g.outcome_G.size - 1) / g.outcome_G.size,
    ),
    "LitePPO of one group is GRPO": (ANY, lambda g: credit("lite_ppo", g), grpo),
    "GPG of one group whose scores are not zero is Dr.GRPO": (
        ANY,
        lambda g: credit("gpg", replace(g, outcome_G=g.outcome_G + 10)),
        lambda g: credit("dr_grpo", g),
    ),
    "MaxRL times the mean is Dr.GRPO": (
        ANY,
        lambda g: 11 * credit("max_rl", at_mean(g, 11), epsilon=0.0),
        lambda g: credit("dr_grpo", at_mean(g, 11)),
    ),
    "OPO with attempts of equal length is Dr.GRPO": (
        st.sampled_from([[2, 2], [3, 3, 3], [1] * 4]),
        lambda g: credit("opo", with_learned(g, tokens=3.0)),
        lambda g: credit("dr_grpo", g),
    ),
    "REINFORCE++ of one group of one-step attempts is GRPO": (
        ONE_STEP,
        lambda g: credit("reinforce_pp", g),
        lambda g: grpo(g, 1e-8),
    ),
    "REINFORCE++ with baseline of one group of one-step attempts is GRPO": (
        ONE_STEP,
        lambda g: credit("reinforce_pp_baseline", g),
        lambda g: grpo(g, 1e-8),
    ),
    "GDPO without process rewards is GRPO, whitened once more": (
        ONE_STEP,
        lambda g: np.sign(np.round(credit("gdpo", g, process_weight=0.0), 9)),
        lambda g: np.sign(np.round(grpo(g), 9)),
    ),
    "ReMax with a greedy score of 0 is the return, as is GAE with a critic of 0": (
        ANY,
        lambda g: credit("remax", with_learned(g, greedy=0.0)),
        lambda g: credit("gae", with_learned(g, values=0.0), whiten=False),
    ),
    "GAE with lambda 0 and gamma 1 telescopes to the outcome less the first value": (
        ANY,
        lambda g: sums(g, credit("gae", g, lam=0.0, whiten=False)),
        lambda g: g.outcome_G - [values_S[0] for values_S in g.learned_GS["values"]],
    ),
    "GAE whitened is REINFORCE++ when the critic is 0": (
        ANY,
        lambda g: credit("gae", with_learned(g, values=0.0), gamma=0.9),
        lambda g: credit("reinforce_pp", g, gamma=0.9),
    ),
    "Process GRPO with equal process rewards is GRPO": (
        ANY,
        lambda g: credit("process_grpo", no_process(g)),
        grpo,
    ),
    "MT-GRPO without its turn term is GRPO": (
        TWO_STEPS_OR_MORE,
        lambda g: credit("mt_grpo", g, coefficient=0.0),
        lambda g: grpo(g, 1e-4),
    ),
    "MT-GRPO of one-step attempts is GRPO on the sum of outcome and process": (
        ONE_STEP,
        lambda g: credit("mt_grpo", g),
        lambda g: grpo(g, 1e-4, process_weight=1.0),
    ),
    "GiGPO with omega 0 is GRPO": (ANY, lambda g: credit("gigpo", g, omega=0.0), grpo),
    "GiGPO with states that never recur is GRPO": (
        ANY,
        lambda g: credit("gigpo", unique_states(g)),
        grpo,
    ),
    "GiGPO on one-step attempts from one state is GRPO twice": (
        ONE_STEP,
        lambda g: credit("gigpo", replace(g, states_GS=tuple(("s",) for _ in g.steps_G))),
        lambda g: 2 * grpo(g),
    ),
    "GiGPO with similarity 1 is GiGPO with exact anchors": (
        ANY,
        lambda g: credit("gigpo", g, similarity=1.0),
        lambda g: credit("gigpo", g),
    ),
    "GiGPO that counts steps is GiGPO that counts attempts when all have one step": (
        ONE_STEP,
        lambda g: credit("gigpo", g, count_steps=True),
        lambda g: credit("gigpo", g),
    ),
    "IGPO of one-step attempts is GRPO": (ONE_STEP, lambda g: credit("igpo", g), grpo),
    "IGPO as released on one-step attempts is Dr.GRPO": (
        ONE_STEP,
        lambda g: credit("igpo", g, form="released"),
        lambda g: credit("dr_grpo", g),
    ),
    "Tree-GRPO with one branch per tree is GRPO": (
        ANY,
        lambda g: credit("tree_grpo", replace(g, trees_G=())),
        grpo,
    ),
    "Tree-GRPO with one tree counts GRPO twice": (
        ANY,
        lambda g: credit("tree_grpo", replace(g, trees_G=("x",) * len(g.steps_G))),
        lambda g: 2 * grpo(g),
    ),
    "Tree-GRPO between trees only is GRPO": (
        ANY,
        lambda g: credit("tree_grpo", g, compare="inter"),
        grpo,
    ),
    "Tree-GRPO inside one tree only is GRPO": (
        ANY,
        lambda g: credit(
            "tree_grpo", replace(g, trees_G=("x",) * len(g.steps_G)), compare="inner"
        ),
        grpo,
    ),
    "Dual-Track's answer track is GRPO with the biased deviation": (
        ANY,
        lambda g: credit("dual_track", g),
        lambda g: grpo(g, scale="biased"),
    ),
    "Dual-Track as one sum with weight 0 is GRPO": (
        ANY,
        lambda g: credit("dual_track", g, mode="sum", schema_weight=0.0),
        lambda g: grpo(g, scale="biased"),
    ),
    "Dual-Track weighted by a schema reward of 0 is GRPO": (
        ANY,
        lambda g: credit(
            "dual_track", with_learned(g, schema_reward=0.0), mode="reward_weighted"
        ),
        lambda g: grpo(g, scale="biased"),
    ),
    "Reward-SQL with steps that are surely right is the positive part of GRPO": (
        ANY,
        lambda g: credit("reward_sql", with_learned(g, step_score=1.0)),
        lambda g: np.maximum(grpo(g), 0.0),
    ),
    "Reward-SQL with steps that are surely wrong is the negative part of GRPO": (
        ANY,
        lambda g: credit("reward_sql", with_learned(g, step_score=0.0)),
        lambda g: np.minimum(grpo(g), 0.0),
    ),
    "SPA of one-step attempts whose contribution is the outcome is GRPO": (
        ONE_STEP,
        lambda g: credit(
            "spa", with_learned(g, progress=outcome_as_steps(g)), beta=0.0, scale="unbiased"
        ),
        grpo,
    ),
    "SPA with a critic is GAE on the contributions": (
        ANY,
        lambda g: credit("spa", g, baseline="critic", beta=0.0, gamma=0.9, lam=0.8),
        lambda g: credit(
            "gae",
            replace(
                g,
                outcome_G=np.zeros_like(g.outcome_G),
                process_GS=g.learned_GS["progress"],
            ),
            process_weight=1.0,
            gamma=0.9,
            lam=0.8,
            whiten=False,
        ),
    ),
    "PAV with alpha 0 is Dr.GRPO": (
        ANY,
        lambda g: credit("pav", g, alpha=0.0),
        lambda g: credit("dr_grpo", g),
    ),
    "PAV of a prover that is never surprised is Dr.GRPO": (
        ANY,
        lambda g: credit("pav", with_learned(g, prover_before=0.5, prover_after=0.5)),
        lambda g: credit("dr_grpo", g),
    ),
    "Pass@k of two attempts is twice the positive part of Dr.GRPO": (
        st.lists(st.integers(1, 4), min_size=2, max_size=2),
        lambda g: credit("pass_at_k", g, scale="none"),
        lambda g: 2 * np.maximum(credit("dr_grpo", g), 0.0),
    ),
}


def at_mean(group, mean):
    """Move the outcomes to a mean."""
    return replace(group, outcome_G=group.outcome_G - group.outcome_G.mean() + mean)


def no_process(group):
    return replace(group, process_GS=tuple(np.full(n, 0.3) for n in group.steps_G))


def unique_states(group):
    return replace(
        group,
        states_GS=tuple(tuple(f"{i} {t}" for t in range(n)) for i, n in enumerate(group.steps_G)),
    )


def sums(group, credit_N):
    """The sum over each attempt's steps."""
    return attempt_sums(tuple(np.split(credit_N, np.cumsum(group.steps_G)[:-1])), group)


@pytest.mark.parametrize("limit", LIMITS)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_in_the_limit_one_estimator_is_the_other(limit, data):
    lengths, one, other = LIMITS[limit]
    group = data.draw(lengths.flatmap(groups_of))
    np.testing.assert_allclose(one(group), other(group), rtol=1e-6, atol=1e-6)


def one_right_of_four(name):
    """Four attempts of two steps of which the first is right; nothing else tells them apart."""
    neutral = {
        need: tuple(np.full(2, 0.0 if isinstance(NEUTRAL[need], str) else NEUTRAL[need]))
        for need in learned_needs(name)
    }
    return signals(
        [1, 0, 0, 0],
        [[0.2, 0.2]] * 4,
        states_GS=(("start", "next"),) * 4,
        learned_GS={need: tuple(np.array(row) for _ in range(4)) for need, row in neutral.items()},
        trees_G=("x", "x", "y", "y"),
    )


# these see the outcome only through what a model made of it
BLIND = {"spa"}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_step_of_the_only_right_attempt_is_credited_above_those_of_the_others(name):
    if name in BLIND:
        return
    right_S, *wrong = ESTIMATORS[name]()(one_right_of_four(name))[-1].advantages_GS
    assert right_S[-1] > 0 >= max(wrong_S[-1] for wrong_S in wrong)
    for wrong_S in wrong:
        assert (right_S > wrong_S).all()


# the credit is this many times as large when every reward is: no deviation is divided by
LINEAR = {"dr_grpo", "rloo", "opo", "gpg", "remax"}


@pytest.mark.parametrize("name", sorted(LINEAR))
@given(data=st.data(), scale=st.sampled_from([0.25, 3.0]))
@settings(max_examples=15, deadline=None)
def test_credit_in_units_of_the_score_grows_with_the_score(name, data, scale):
    group = data.draw(ANY.flatmap(groups_of))
    scaled = with_learned(
        replace(group, outcome_G=scale * group.outcome_G),
        greedy=tuple(scale * greedy_S for greedy_S in group.learned_GS["greedy"]),
    )
    np.testing.assert_allclose(
        credit(name, scaled), scale * credit(name, group), rtol=1e-9, atol=1e-9
    )


# everything that an estimator does not ask for may change
@pytest.mark.parametrize("name", ESTIMATORS)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_what_an_estimator_does_not_need_does_not_change_its_credit(name, data):
    lengths = data.draw(ANY)
    group, other = data.draw(groups_of(lengths)), data.draw(groups_of(lengths))
    needs = ESTIMATORS[name].needs
    mixed = signals(
        group.outcome_G if "outcome" in needs else other.outcome_G,
        group.process_GS if "process" in needs else other.process_GS,
        states_GS=group.states_GS if "states" in needs else other.states_GS,
        trees_G=group.trees_G if "trees" in needs else other.trees_G,
        learned_GS={
            need: (group if need in needs else other).learned_GS[need]
            for need in group.learned_GS
        },
    )
    np.testing.assert_array_equal(credit(name, mixed), credit(name, group))

"""One law for every preset: what tells the method from the others."""

import numpy as np
import pytest
import torch
from rollout_records import attempt, group, step

from agents.credit import ESTIMATORS, assign, signals
from agents.losses import Bounds, Objective, Totals, policy_loss
from agents.overlong import Overlong
from agents.presets import PRESETS, Preset
from agents.types import Ended
from experiments.config import Config, defaults_for
from experiments.flags import parse
from experiments.methods import of_preset

torch.set_num_threads(1)

LENGTH = 10.0
LONG = [[1, 1, 1, 1], [1, 0, 0, 0]]
"""the masks of an attempt of four tokens and of one of a single token"""


def pull(name, log_ratios, advantages=1.0, mask=None):
    """How much the loss wants each token to be likelier, under the preset's objective."""
    logprobs_BT = torch.tensor(log_ratios, dtype=torch.float64, requires_grad=True)
    mask_BT = torch.ones_like(logprobs_BT) if mask is None else torch.tensor(mask).double()
    advantages_BT = torch.as_tensor(advantages).double().expand_as(logprobs_BT)
    loss, _ = policy_loss(
        logprobs_BT,
        torch.zeros_like(mask_BT),
        advantages_BT,
        mask_BT,
        objective=PRESETS[name].objective,
        totals=Totals.of(mask_BT, length=LENGTH),
    )
    loss.backward()
    return -logprobs_BT.grad


def on_policy(name, mask):
    return pull(name, torch.zeros(len(mask), len(mask[0])).tolist(), mask=mask)


def at(ratio):
    return float(np.log(ratio))


def credit(name, *groups):
    """The credit of the first step of every attempt, group by group."""
    found = assign(ESTIMATORS[PRESETS[name].estimator](), [signals(*g) for g in groups])
    return [[a_S[0] for a_S in tracks[0].advantages_GS] for tracks in found]


def finestep_is_the_default_of_the_script():
    assert PRESETS["finestep"].objective == Objective(bounds=Bounds(0.2, 0.28))
    assert parse(Config, [], **of_preset("finestep")) == Config()


def grpo_lets_every_attempt_weigh_the_same():
    assert on_policy("grpo", LONG).sum(1).tolist() == pytest.approx([0.5, 0.5])
    inside = pull("grpo", [[at(1.19)], [at(1.21)], [at(1.29)]])
    assert (inside[:, 0] > 0).tolist() == [True, False, False], "the clip is symmetric"
    small, big = credit("grpo", ([1, 0], [[0], [0]]), ([9, 0], [[0], [0]]))
    assert small == pytest.approx(big, rel=1e-4), "credit has no unit"
    assert PRESETS["grpo"].kl > 0


def dr_grpo_lets_a_token_weigh_the_same_in_long_attempts_and_easy_groups():
    given = on_policy("dr_grpo", LONG)
    assert given[0].tolist() == pytest.approx([1 / (2 * LENGTH)] * 4)
    assert float(given[1, 0]) == pytest.approx(1 / (2 * LENGTH))
    small, big = credit("dr_grpo", ([1, 0], [[0], [0]]), ([9, 0], [[0], [0]]))
    assert np.multiply(small, 9) == pytest.approx(big), "credit keeps the unit of the reward"


def rloo_weighs_whole_attempts_and_knows_no_ratio():
    for ratio in (0.1, 1.0, 7.0):
        assert pull("rloo", [[at(ratio)] * 3] * 2).tolist() == [[0.5] * 3] * 2
    assert credit("rloo", ([3, 1, 2], [[0]] * 3))[0] == pytest.approx([1.5, -1.5, 0.0])


def reinforce_pp_standardises_over_the_batch():
    first, second = credit("reinforce_pp", ([1, 1], [[0], [0]]), ([0, 0], [[0], [0]]))
    assert first == pytest.approx([-x for x in second]) and first[0] > 0.5


def lite_ppo_compares_within_the_group_in_deviations_of_the_batch():
    easy, wide = credit("lite_ppo", ([1, 0], [[0], [0]]), ([9, 0], [[0], [0]]))
    assert np.multiply(easy, 9) == pytest.approx(wide)
    assert on_policy("lite_ppo", LONG)[0].tolist() == pytest.approx([0.2] * 4)


def ppo_credits_a_step_with_what_the_critic_had_not_foreseen():
    estimator = ESTIMATORS[PRESETS["ppo"].estimator](whiten=False)
    values = tuple(np.array(row) for row in ([0.5, 0.9], [0.5]))
    one = signals([1, 0], [[0, 0], [0]], learned_GS={"values": values})
    (track,) = estimator(one)
    np.testing.assert_allclose(track.advantages_GS[0], [0.5, 0.1])
    np.testing.assert_allclose(track.advantages_GS[1], [-0.5])
    assert (pull("ppo", [[at(1.19)], [at(1.21)]])[:, 0] > 0).tolist() == [True, False]


def dapo_lets_rare_tokens_grow_and_every_token_weigh_the_same():
    assert on_policy("dapo", LONG).tolist() == [[0.2] * 4, [0.2, 0, 0, 0]]
    up = pull("dapo", [[at(1.27)], [at(1.29)]])
    down = pull("dapo", [[at(0.81)], [at(0.79)]], -1.0)
    assert (up[:, 0] > 0).tolist() == (down[:, 0] < 0).tolist() == [True, False]
    assert PRESETS["dapo"].rounds > 1 and PRESETS["dapo"].kl == 0
    # six tokens of at most six, the last three of which cost: a third of the reward for each
    rule = Overlong(PRESETS["dapo"].overlong, limit=6, cache=3)
    cut = attempt(step([1, 2], [3, 4, 5, 6], outcome=1.0), ended=Ended.TOKEN_LIMIT)
    assert rule.signals(group(cut)).outcome_G.tolist() == pytest.approx([0.0])


def gspo_clips_all_tokens_of_an_attempt_or_none():
    drift = 3e-4  # the mean of the row; below the upper bound of 4e-4
    given = pull("gspo", [[4 * drift, 0.0, 0.0, 0.0], [8 * drift, 0.0, 0.0, 0.0]])
    assert (given[0] > 0).all() and not given[1].any()
    assert given[0].tolist() == pytest.approx([0.125 * np.exp(drift)] * 4)
    fallen = pull("gspo", [[-2e-4] * 2, [-4e-4] * 2], -1.0)
    assert (fallen[0] < 0).all() and not fallen[1].any()


def gspo_token_is_gspo_with_credit_per_token():
    rows = [[1e-4, -1e-4, 2e-4], [0.0, 1e-4, 0.0]]
    torch.testing.assert_close(pull("gspo_token", rows), pull("gspo", rows))
    one_good = pull("gspo_token", [[0.0, 0.0]], [[1.0, -1.0]])
    assert one_good[0].tolist() == pytest.approx([0.5, -0.5])


def cispo_bounds_a_tokens_weight_and_never_drops_it():
    given = pull("cispo", [[at(0.01)], [at(1.0)], [at(4.0)], [at(80.0)]])[:, 0] * 4
    assert given.tolist() == pytest.approx([0.01, 1.0, 4.0, 5.0])


def sapo_fades_the_further_a_token_has_moved():
    ratios = (0.2, 0.6, 1.0, 2.0, 4.0, 8.0)
    # per unit of ratio, which is what the gate is a function of
    good, bad = (
        np.abs(pull("sapo", [[at(r)] for r in ratios], sign)[:, 0].numpy()) / ratios
        for sign in (1.0, -1.0)
    )
    assert good.argmax() == 2 and (good > 0).all()
    assert (bad < good)[[0, 1, 3, 4, 5]].all(), "what is bad fades faster"


def gmpo_clips_outliers_one_by_one_inside_a_mean_of_the_attempt():
    calm, wild = pull("gmpo", [[0.0, 0.1], [0.0, 9.0]])
    assert (calm > 0).all() and wild[0] > 0 and wild[1] == 0
    assert float(wild[0]) == pytest.approx(0.25 * np.exp(0.4 / 2))


def vespo_weighs_an_attempt_by_how_far_all_of_it_has_moved():
    there, back, still = pull("vespo", [[0.5, 0.5], [-1.0, -1.0], [0.5, -0.5]])
    assert still.tolist() == pytest.approx([1 / 6] * 2)
    assert (there > 0).all() and (there < still).all() and (back < still).all()


def areal_leaves_out_what_the_sampler_found_far_too_unlikely():
    correction = PRESETS["areal"].objective.correction
    proximal_BT = torch.zeros(1, 3)
    behaviour_BT = -torch.tensor([[1.0, 4.9, 5.1]]).log()
    given = correction.weights(proximal_BT, behaviour_BT, torch.ones(1, 3))
    assert given[0].tolist() == pytest.approx([1.0, 4.9, 0.0])
    assert (pull("areal", [[at(1.39)], [at(1.41)]])[:, 0] > 0).tolist() == [True, False]


LAWS = {
    "finestep": finestep_is_the_default_of_the_script,
    "grpo": grpo_lets_every_attempt_weigh_the_same,
    "dr_grpo": dr_grpo_lets_a_token_weigh_the_same_in_long_attempts_and_easy_groups,
    "rloo": rloo_weighs_whole_attempts_and_knows_no_ratio,
    "reinforce_pp": reinforce_pp_standardises_over_the_batch,
    "lite_ppo": lite_ppo_compares_within_the_group_in_deviations_of_the_batch,
    "ppo": ppo_credits_a_step_with_what_the_critic_had_not_foreseen,
    "dapo": dapo_lets_rare_tokens_grow_and_every_token_weigh_the_same,
    "gspo": gspo_clips_all_tokens_of_an_attempt_or_none,
    "gspo_token": gspo_token_is_gspo_with_credit_per_token,
    "cispo": cispo_bounds_a_tokens_weight_and_never_drops_it,
    "sapo": sapo_fades_the_further_a_token_has_moved,
    "gmpo": gmpo_clips_outliers_one_by_one_inside_a_mean_of_the_attempt,
    "vespo": vespo_weighs_an_attempt_by_how_far_all_of_it_has_moved,
    "areal": areal_leaves_out_what_the_sampler_found_far_too_unlikely,
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_obeys_its_law(name):
    LAWS[name]()


@pytest.mark.parametrize("name", PRESETS)
def test_the_flag_of_a_preset_gives_its_parts(name):
    argv = ["--preset", name]
    config = parse(Config, argv, **defaults_for(argv))
    preset = PRESETS[name]
    given = config.objective
    assert (given.ratio, given.surrogate, given.reduction, given.bounds, given.correction) == (
        preset.objective.ratio,
        preset.objective.surrogate,
        preset.objective.reduction,
        preset.objective.bounds,
        preset.objective.correction,
    )
    assert given.length == config.context
    assert isinstance(config.build_estimator(), ESTIMATORS[preset.estimator])
    assert (config.rounds, config.kl) == (preset.rounds, preset.kl)
    assert config.overlong_rule == Overlong(preset.overlong, config.context, config.context // 5)


def test_a_flag_of_its_own_beats_the_preset():
    argv = ["--preset", "dapo", "--clip-high=0.5", "--estimator", "rloo", "--rounds", "1"]
    config = parse(Config, argv, **defaults_for(argv))
    assert (config.clip_high, config.estimator, config.rounds) == (0.5, "rloo", 1)
    assert config.overlong == "penalty", "the rest stays"


def test_a_preset_goes_with_the_defaults_of_a_pretrained_model():
    argv = ["--preset", "gspo", "--model", "there"]
    config = parse(Config, argv, **defaults_for(argv))
    assert (config.ratio, config.warm_steps) == ("sequence", 0)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--preset", "dapoo"], "Did you mean 'dapo'"),
        (["--correction", "tiss"], "Did you mean 'tis'"),
        (["--ratio", "tokn"], "Did you mean 'token'"),
        (["--rounds", "0"], "rounds must be at least 1"),
        (["--estimator-options", "scale"], "expected name=value, got 'scale'"),
        (["--estimator", "grpo", "--estimator-options", "gama=1"], "gama"),
        (["--estimator", "grpo", "--estimator-options", "scale=bad"], "scale must be one of"),
    ],
)
def test_a_wrong_flag_is_named(argv, message, capsys):
    with pytest.raises(SystemExit):
        parse(Config, argv, **defaults_for(argv))
    assert message in capsys.readouterr().err


def test_options_of_an_estimator_are_read_as_what_they_are():
    options = "scale=none,epsilon=1e-3,process_weight=2"
    made = Config(estimator="grpo", estimator_options=options).build_estimator()
    assert made == ESTIMATORS["grpo"](scale="none", epsilon=1e-3, process_weight=2)
    assert Config(estimator_options="guard=False").build_estimator().guard is False


@pytest.mark.parametrize(
    "wrong", [{"estimator": "grp"}, {"overlong": "drop"}, {"rounds": 0}]
)
def test_a_preset_of_what_does_not_exist_is_refused(wrong):
    with pytest.raises((LookupError, ValueError)):
        Preset(**{"estimator": "grpo", "objective": Objective(), **wrong})

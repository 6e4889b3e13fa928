"""Which estimators the flags of the training script can serve, and what is said of the others."""

import pytest
import torch

from agents.credit import ESTIMATORS
from experiments.config import Config
from experiments.methods import check_needs

TRUST_SQL = {"model": "some/model", "protocol": "trust_sql", "warm_steps": 0}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_trains_a_language_model_where_schemas_are_proposed(name):
    Config(estimator=name, **TRUST_SQL)
    Config(estimator=name, propose=0.5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"estimator": "dual_track"}, "none are proposed here; expected --propose .* trust_sql"),
        ({"estimator": "dual_track", **TRUST_SQL, "protocol": "chat"}, "none are proposed here"),
        ({"propose": 0.5, **TRUST_SQL}, "propose: expected a share, and 0 with --model"),
        ({"propose": 1.5}, "propose: expected a share"),
        ({"estimator": "tree_grpo", "group_size": 7}, "tree_grpo branch in pairs; expected even"),
        ({"overlap": "yes"}, "overlap: expected auto, on or off, got 'yes'"),
        ({"unit": "word"}, "unit: expected turn or token, got 'word'"),
        ({"schema_mode": "total"}, "no schema score named 'total'. Did you mean 'total_match'"),
    ],
)
def test_what_cannot_be_served_is_refused_before_the_run(flags, message):
    with pytest.raises((ValueError, LookupError), match=message):
        Config(**flags)


@pytest.mark.parametrize(
    ("overlap", "cpu", "gpu"), [("auto", False, True), ("on", True, True), ("off", False, False)]
)
def test_sampling_waits_for_statements_by_default_where_runs_can_be_repeated(overlap, cpu, gpu):
    config = Config(overlap=overlap)
    assert config.overlaps(torch.device("cpu")) is cpu
    assert config.overlaps(torch.device("cuda")) is gpu


def test_a_signal_that_nothing_gives_is_named():
    with pytest.raises(ValueError, match="mine needs charm, luck, which episodes of language"):
        check_needs("mine", frozenset({"outcome", "luck", "charm"}), 8, proposals=True)

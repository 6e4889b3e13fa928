"""Which estimators the flags of the training script can serve, and what is said of the others."""

import pytest

from agents.credit import ESTIMATORS
from experiments.config import Config
from experiments.methods import check_needs

TRUST_SQL = {"model": "some/model", "protocol": "trust_sql", "warm_steps": 0}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_trains_a_language_model_in_some_protocol(name):
    Config(estimator=name, **TRUST_SQL)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"estimator": "dual_track"}, "the protocol finestep none are proposed.* trust_sql"),
        ({"estimator": "dual_track", **TRUST_SQL, "protocol": "chat"}, "the protocol chat none"),
        ({"estimator": "tree_grpo", "group_size": 7}, "tree_grpo branch in pairs; expected even"),
        ({"schema_mode": "total"}, "no schema score named 'total'. Did you mean 'total_match'"),
    ],
)
def test_what_cannot_be_served_is_refused_before_the_run(flags, message):
    with pytest.raises((ValueError, LookupError), match=message):
        Config(**flags)


def test_a_signal_that_nothing_gives_is_named():
    with pytest.raises(ValueError, match="mine needs charm, luck, which episodes of language"):
        check_needs("mine", frozenset({"outcome", "luck", "charm"}), "finestep", 8)

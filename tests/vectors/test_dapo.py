"""Recorded cases of DAPO's dynamic sampling and overlong shaping, and of Arctic's BIRD reward."""

import re

import numpy as np
import pytest
from sql_vector_cases import execution_match_of
from vector_cases import array, close, differs, each_case, rows_by

from agents.credit import Grpo, signals
from agents.credit.selection import is_informative, overlong_penalty
from text2sql_gym.rewards.graded_outcome import arctic_outcome
from text2sql_gym.types import EpisodeOutcome, Task, ToolResult, Transition

FILE = "dapo_and_arctic.json"


def overlong_trl(case):
    close(overlong_penalty(np.array(case["args"]["lengths"]), 100, 20), case["out"])


def overlong_verl(case):
    factor = float(case["name"].split("factor")[1])
    lengths = np.array(case["args"]["valid_response_lengths"])
    close(overlong_penalty(lengths, 100, 20, factor=factor, floor=False), case["out"])


def kept(case):
    """The rows of the first informative groups, as many as a batch has."""
    args = case["args"]
    rewards = array(args["rewards"])
    scores = rewards.sum(1) if rewards.ndim == 2 else rewards
    informative = [
        rows
        for rows in rows_by(args["uids"]).values()
        if is_informative(signals(scores[rows], [[0.0]] * len(rows)))
    ]
    return informative


def filter_enough(case):
    groups = kept(case)[: case["args"]["train_batch_size"]]
    assert sum(groups, []) == case["out"]["rows"] and not case["out"]["keep_sampling"]


def filter_not_enough(case):
    groups = kept(case)
    assert len(groups) == case["out"]["num_prompts"] < case["args"]["train_batch_size"]
    assert case["out"]["keep_sampling"]


@differs("a deviation of 1e-17 is a rounding error, not a difference: equality is exact here")
def filter_noise(case):
    assert case["out"]["rows"] == [0, 1, 2]
    assert kept(case) == []


@differs("the references give a group of equal rewards up to 0.9 by rounding; here it is exactly 0")
def rounding(case):
    largest = 0.0
    for record in case["out"]:
        rewards = [record["reward"]] * record["n"]
        (track,) = Grpo(epsilon=1e-9)(signals(rewards, [[0.0]] * len(rewards)))
        assert all((advantages == 0).all() for advantages in track.advantages_GS)
        largest = max(largest, abs(record["openrlhf_group_norm_eps1e-9"]))
    assert largest > 0.8


# --- Arctic's reward: 1 for a match, 0.1 for a query that runs or for good form, else 0

SETUP = [
    "CREATE TABLE t(a INTEGER, b TEXT)",
    "INSERT INTO t VALUES (1,'x'),(2,'y'),(2,'y'),(3,NULL)",
]


def sql_of(response):
    """The last fenced block after the thoughts, else everything from SELECT on, else nothing."""
    answer = response.rsplit("</think>", 1)[-1]
    blocks = re.findall(r"```sql\s*(.*?)```", answer, re.DOTALL)
    return blocks[-1] if blocks else "".join(re.findall(r"SELECT.*", answer, re.DOTALL))


def ours(case, tmp_path_factory):
    args = case["args"]
    golds = args.get("alternative_answers", [args.get("gold", "")])
    path = tmp_path_factory.mktemp("arctic") / "main.sqlite"
    return execution_match_of(sql_of(args["response"]), golds, SETUP, path)


def arctic_term(case, tmp_path_factory):
    """Our term for a submission with the recorded execution, judged by our matcher."""
    outcome = EpisodeOutcome.PREDICTED_ERROR
    if case["out"]["execution_success"]:
        right = ours(case, tmp_path_factory)
        outcome = EpisodeOutcome.MATCH if right else EpisodeOutcome.MISMATCH
    final = ToolResult("", final=True)
    return arctic_outcome(Transition(Task("t", "db", "?"), (), None, final, outcome=outcome))


def arctic(case, tmp_path_factory):
    close(arctic_term(case, tmp_path_factory), case["out"]["score"])


@differs("pays 0.1 for good form as well; here a query has to run")
def arctic_form(case, tmp_path_factory):
    assert case["out"]["score"] == 0.1 and arctic_term(case, tmp_path_factory) == 0.0


CHECKS = {
    "trl_soft_overlong_*": overlong_trl,
    "verl_overlong_*": overlong_verl,
    "skyrl_filter_enough": filter_enough,
    "skyrl_filter_not_enough": filter_not_enough,
    "skyrl_filter_token_level": filter_enough,
    "skyrl_filter_float_noise_kept": filter_noise,
    "zero_variance_float32_noise": rounding,
    "arctic_bird_*": arctic,
    "arctic_bird_error_good_format": arctic_form,
}


@each_case(FILE, CHECKS)
def test_dapo_and_arctic(check, case, tmp_path_factory):
    if check in (arctic, arctic_form):
        check(case, tmp_path_factory)
    else:
        check(case)


def test_a_group_that_differs_in_process_only_can_count_as_informative():
    group = signals([1, 1], [[0.0, 1.0], [0.0]])
    assert not is_informative(group) and is_informative(group, process=True)
    assert not is_informative(signals([1], [[0.0, 1.0]]), process=True)
    assert not is_informative(signals([0.1] * 3, [[0.2]] * 3), process=True)


@pytest.mark.parametrize("cache", [0, 11])
def test_an_overlong_cache_of_nothing_or_larger_than_the_limit_is_refused(cache):
    with pytest.raises(ValueError, match="need 0 < cache <= limit"):
        overlong_penalty(np.array([1]), 10, cache)


def test_the_smallest_and_the_largest_cache():
    assert overlong_penalty(np.array([9, 10, 11]), 10, 1).tolist() == [0.0, -1.0, -1.0]
    assert overlong_penalty(np.array([0, 5, 10]), 10, 10).tolist() == [0.0, -0.5, -1.0]

"""Scripted gold episodes over Spider and BIRD, through the environment as a user makes it."""

from __future__ import annotations

import os
from pathlib import Path

import gymnasium as gym
import pytest

import text2sql_gym  # noqa: F401  registers Text2SQL-v0
from text2sql_gym.checks import WARNINGS, Problem, check_tasks, play_tasks
from text2sql_gym.datasets import load_tasks
from text2sql_gym.protocols.finestep import FineStep

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("TEXT2SQL_DATA" not in os.environ, reason="TEXT2SQL_DATA is not set"),
]

SPIDER = ["train", "dev", "syn", "syn_train", "realistic", "dk", "dk_new"]
BIRD = ["train", "dev", "mini_dev", "arcwise_sql", "arcwise_full"]
SPLITS = [("spider", split) for split in SPIDER] + [("bird", split) for split in BIRD]
FAULTS_OF_THE_DATA = {Problem.ERROR, Problem.TIMEOUT, Problem.TOO_LARGE}


def folder(dataset):
    return str(Path(os.environ["TEXT2SQL_DATA"]) / dataset)


def fair_sample(tasks):
    """One task of every database and difficulty."""
    return list({(task.database_id, task.difficulty): task for task in tasks}.values())


@pytest.mark.parametrize("dataset", ["spider", "bird"])
def test_an_environment_over_dev_pays_scripted_gold_episodes_in_full(dataset):
    env = gym.make("Text2SQL-v0", dataset=dataset, data_dir=folder(dataset), split="dev")
    sample = fair_sample(env.unwrapped.tasks)
    assert len(sample) >= 3
    for task in sample:
        _, info = env.reset(options={"task_id": task.task_id})
        assert info["outcome"] == "no_submission"
        for trial in (FineStep.call("try it", task.gold_sql[0]), None):
            turn = trial or FineStep.answer("that is it", task.gold_sql[0])
            _, reward, terminated, truncated, info = env.step(turn)
        assert (info["outcome"], info["reward_terms"]["execution_match"]) == ("match", 1.0), task
        assert terminated and not truncated and reward >= 1.0
    env.close()


@pytest.mark.parametrize(("dataset", "split"), SPLITS)
def test_every_gold_episode_is_paid_in_full_or_listed_with_a_fault_of_the_data(dataset, split):
    sample = fair_sample(load_tasks(dataset, folder(dataset), split))
    # copies of the training databases take half a minute to make
    matcher = "strict_one_database" if split.endswith("train") else "strict"
    listed = check_tasks(sample, matcher)
    reasons = {found.problem for found in listed.findings} - WARNINGS
    assert reasons <= FAULTS_OF_THE_DATA
    assert play_tasks(sample, matcher).without_full_reward == listed.without_full_reward
    assert len(listed.without_full_reward) <= max(1, len(sample) // 100)

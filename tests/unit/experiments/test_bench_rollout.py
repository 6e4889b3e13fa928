"""What the benchmark of rollouts counts, how contestants take turns, and what lock step is."""

import pytest
import torch
from agents.types import Completion, Ended, Group, Step, Trajectory
from experiments.bench_paired import Contestant, shares
from experiments.bench_rollers import LockStep, Positions, Roller, Way, needed
from experiments.bench_rollout import Config, rate, table, waste
from experiments.bench_workload import WORKLOADS, Workload, heavy_statement, make_env, save_model
from experiments.bench_workload import tasks_of
from text2sql_gym.errors import UnknownName

TWO_TURNS = Workload(turns=2, tokens=48, mean=8, prompts=2, group=2, heavy=2)


def said(context, sampled):
    completion = Completion((5,) * sampled, (-1.0,) * sampled, "")
    return Step((7,) * context, completion, "", 0.0, 0.0, {}, call_outcome="ok", tool="execute_sql")


def attempt(*turns):
    return Trajectory("task", "easy", turns, Ended.STEP_LIMIT, "none")


def test_prompts_are_needed_once_a_group_and_the_last_token_of_an_attempt_never():
    group = Group("task", (attempt(said(10, 4)), attempt(said(10, 3), said(2, 5))))
    assert needed([group]) == 10 + 3 + (3 + 2 + 4)
    assert needed([group, group]) == 2 * needed([group])


def test_positions_are_counted_where_tokens_are_looked_up():
    positions, embedding = Positions(), torch.nn.Embedding(9, 2)
    positions.watch(embedding)
    embedding(torch.zeros(3, 4, dtype=torch.long))
    embedding(torch.zeros(5, dtype=torch.long))
    assert positions.computed == 17


class OneAtATime:
    """A policy in which the turn asked for last is complete first, each in its own advance."""

    def __init__(self):
        self.asked, self.closed = [], []

    def open(self, prompt_ids, seeds):
        self.asked += seeds
        return list(seeds)

    def extend(self, handle, token_ids):
        self.asked.append(handle)

    def close(self, handle):
        self.closed.append(handle)

    def advance(self):
        return [(self.asked.pop(), Completion((1,), (0.0,), ""))] if self.asked else []


def test_in_lock_step_no_turn_is_complete_before_all_are():
    policy = LockStep(OneAtATime())
    handles = policy.open([1], [4, 5]) + policy.open([1], [6])
    assert [handle for handle, _ in policy.advance()] == [6, 5, 4]
    assert policy.advance() == []
    policy.close(handles[0])
    for handle in handles[1:]:
        policy.extend(handle, [1])
    assert [handle for handle, _ in policy.advance()] == [6, 5]
    assert policy._policy.closed == [4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"), "3M", TWO_TURNS)


def test_a_roll_collects_the_attempts_of_a_step_and_what_they_cost(folder):
    roller = Roller(Way(), TWO_TURNS, folder)
    (first, parts), (second, _) = roller.roll(), roller.roll()
    assert len({group.task_id for group in (*first, *second)}) == 4
    assert [len(group.attempts) for group in first] == [2, 2]
    turns = [step.completion for group in first for a in group.attempts for step in a.steps]
    assert parts["tokens"] == sum(len(turn.token_ids) for turn in turns) <= 4 * TWO_TURNS.tokens
    assert parts["heavy"] == sum(TWO_TURNS.runs_heavy(turn.text) for turn in turns)
    assert parts["needed"] == needed(first) <= parts["computed"] < 2 * needed(first)
    assert {"seconds_weights", "seconds_generation", "seconds_sql", "seconds_encode"} < set(parts)


def test_lock_step_changes_when_turns_are_answered_and_not_what_is_said(folder):
    free, locked = (
        Roller(Way(lock_step=lock), TWO_TURNS, folder).roll()[0] for lock in (False, True)
    )
    assert [
        [[step.completion.token_ids for step in a.steps] for a in group.attempts] for group in free
    ] == [
        [[step.completion.token_ids for step in a.steps] for a in group.attempts]
        for group in locked
    ]


def test_one_text_in_so_many_calls_a_heavy_statement_of_its_own():
    workload = WORKLOADS["uneven"]
    texts = [f"text {number}" for number in range(4_000)]
    assert sum(map(workload.runs_heavy, texts)) == pytest.approx(4_000 / 16, rel=0.2)
    assert not any(map(WORKLOADS["multi"].runs_heavy, texts))
    heavy = [text for text in texts if workload.runs_heavy(text)][:3]
    assert len({heavy_statement(number) for number in range(9)}) == 9
    with make_env(tasks_of(1), workload) as env:
        env.reset(seed=0)
        shown = [env.step(text)[0] for text in heavy]
    assert all("COUNT(*)" in text and "\n100" in text for text in shown)
    assert len(set(shown)) == 3


ONE = {"wall": 2.0, "cpu": 4.0, "tokens": 100, "peak_mb": 9.0, "computed": 30, "needed": 20}
OURS = [{**ONE, "heavy": 1, "seconds_generation": 1.0, "seconds_sql": 0.5}] * 3
THEIRS = [{**step, "wall": 5.0, "cpu": 6.0, "computed": 50} for step in OURS]


def test_rates_waste_and_ratios_are_in_the_table():
    assert (rate(OURS, "wall"), rate(OURS, "cpu"), waste(OURS)) == (50.0, 25.0, 1.5)
    assert shares(OURS, ("generation", "weights")) == ["50.0%", ""]
    found = {"size": "3M", "workload": "multi", "date": "today", "revision": "r"}
    shown = table({**found, "steps": {"ours": OURS, "TRL": THEIRS}}).splitlines()
    assert shown[2].endswith("computed / needed | time of TRL (CPU) |")
    assert "| ours | 50 | 25 | 100 | 2.00 | 9 | 1.50 | 2.50 (1.50) |" in shown
    assert "| TRL | 20 | 17 | 100 | 5.00 | 9 | 2.50 | 1.00 (1.00) |" in shown
    assert "| ours | 50.0% |  | 25.0% |  | 1 |" in shown


@pytest.fixture
def counting(tmp_path, monkeypatch):
    """The module of a contestant that counts its steps."""
    (tmp_path / "counting.py").write_text(
        "import sys\nfrom itertools import count\nfrom experiments.bench_paired import serve\n"
        "steps = count()\nprint('noise')\n"
        "serve(lambda: {'tokens': next(steps), 'arguments': sys.argv[1:]})\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_a_contestant_makes_a_step_when_it_is_told_to(counting, tmp_path):
    one = Contestant("counting", "ours", "multi", tmp_path)
    made = [one.step(), one.step()]
    one.close()
    assert [step["tokens"] for step in made] == [0, 1]
    assert made[0]["arguments"] == ["ours", "multi", str(tmp_path)]
    assert all(step["peak_mb"] > 10 and step["wall"] >= 0 for step in made)


def test_a_contestant_that_dies_leaves_its_last_words(tmp_path):
    with pytest.raises(RuntimeError, match="(?s)ours ended:.*No module named no_such_contestant"):
        Contestant("no_such_contestant", "ours", "multi", tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"size": "1T"}, {"workload": "odd"}, {"contestants": "ours;mine"}, {"rounds": 0}]
)
def test_what_is_unknown_is_refused(wrong):
    with pytest.raises((ValueError, UnknownName)):
        Config(**wrong)

"""What the benchmark beside TRL counts."""

import torch
from transformers import AutoModelForCausalLM

from experiments.bench_paired import ratio
from experiments.bench_workload import WORKLOADS, make_env, save_model, tasks_of


def step(wall, tokens):
    return {"wall": wall, "tokens": tokens}


def test_ratios_are_taken_within_a_round_and_per_token():
    ours = [step(1.0, 100), step(2.0, 100), step(1.0, 200)]
    theirs = [step(3.0, 100), step(4.0, 100), step(4.0, 100)]
    assert ratio(ours, theirs, "wall") == 3.0  # of 3, 2 and 8
    assert ratio(theirs, theirs, "wall") == 1.0


def test_any_text_is_a_call_that_runs_and_earns_a_reward_of_its_own():
    workload = WORKLOADS["multi"]
    with make_env(tasks_of(1), workload) as env:
        env.reset(seed=0)
        answers = [env.step(text) for text in ("", "<final_sql>", "no call", "§")]
    assert [answer[4]["call_outcome"] in ("ok", "duplicate") for answer in answers] == [True] * 4
    assert len({answer[1] for answer in answers}) == 4
    assert [answer[3] for answer in answers] == [False, False, False, True]


def test_turns_of_the_random_model_have_the_mean_length_asked_for(tmp_path):
    save_model(tmp_path, "3M", WORKLOADS["multi"])
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    random_BT = torch.randint(10, 2_500, (4, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        share_BT = model(random_BT).logits.softmax(-1)[..., model.config.eos_token_id]
    assert abs(float(share_BT.mean()) * WORKLOADS["multi"].mean - 1) < 0.1

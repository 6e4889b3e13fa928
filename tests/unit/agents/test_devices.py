"""What must hold on every device a model runs on; the part for CUDA needs a GPU."""

import copy

import numpy as np
import pytest
import torch
from policy_play import play, prompt, sampled
from rollout_records import attempt, step

from agents.batch import token_rows
from agents.credit import Track
from agents.likelihood import token_logprobs
from agents.policies.base import Sampling
from agents.policies.transformers import TransformersPolicy
from agents.rollout import Collector
from agents.trainer import Optimization, Trainer

CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ],
)
DEVICES = pytest.mark.parametrize("device", ["cpu", CUDA])


def policy(model, chat, rows, new=9, context=256):
    return TransformersPolicy(model, chat, Sampling(new, 1.0), rows=rows, context=context)


@DEVICES
def test_a_batch_samples_what_single_sequences_sample(model, chat, device):
    model.to(device)
    seeds = [1, 2, 3, 4, 5]
    together = play(policy(model, chat, 16), [(prompt(2), seeds)], turns=3)
    alone = {}
    for seed in seeds:
        alone |= dict(play(policy(model, chat, 1), [(prompt(2), [seed])], turns=3))
    assert sampled(together) == sampled(alone)
    rows = token_rows(
        [
            attempt(*(step(heard, c.token_ids, logprobs=c.logprobs) for heard, c in turns))
            for turns in together.values()
        ]
    )
    with torch.no_grad():
        found_BT, _ = token_logprobs(model, rows.token_ids_BT, rows.mask_BT, temperature=1.0)
    torch.testing.assert_close(rows.behaviour_BT, found_BT.cpu(), atol=1e-3, rtol=0)


class Alternating:
    """Credits every second attempt."""

    def __call__(self, group):
        signs = (1.0 - 2 * (number % 2) for number in range(len(group.steps_G)))
        return (Track([np.full(n, sign) for n, sign in zip(group.steps_G, signs, strict=True)]),)


@DEVICES
def test_one_update_from_rollout_to_weights(imitator, chat, make_env, tasks, device):
    model = copy.deepcopy(imitator).to(device).eval()
    collector = Collector(make_env, chat, rows=16)
    ids = [task.task_id for task in tasks]
    try:
        groups = collector.collect(policy(model, chat, 16, 80, 512), ids, 4, seed=0)
    finally:
        collector.close()
    before = copy.deepcopy(model.state_dict())
    trainer = Trainer(model, Alternating(), optimization=Optimization(1e-3, warmup=0))
    metrics = trainer.update(groups)
    assert metrics["groups_kept"] > 0 and 0 < metrics["grad_norm"] < float("inf")
    after = model.state_dict()
    assert all(torch.isfinite(weight).all() for weight in after.values())
    assert any(not torch.equal(before[name], weight) for name, weight in after.items())
    assert {weight.device.type for weight in after.values()} == {device}

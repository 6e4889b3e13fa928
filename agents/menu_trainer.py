"""Train a `MenuNetwork`: the trainer of the language models, with steps in place of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from agents.batch import Batch, assemble
from agents.credit.base import Credit
from agents.menu_rollout import MenuStep
from agents.policies.menu import MenuNetwork
from agents.trainer import Trainer
from agents.types import Group, Step, Trajectory


class MenuTrainer(Trainer[MenuNetwork]):
    """As `Trainer`; a turn has one token, which stands for a row in a table of steps."""

    def _assemble(self, groups: list[Group], credits: list[Credit]) -> Batch:
        batch = assemble(groups, credits)
        steps = [step for group in groups for a in group.attempts for step in a.steps]
        self._table = tensors(steps)
        number_BT = torch.zeros_like(batch.token_ids_BT)
        number_BT[batch.mask_BT > 0] = torch.arange(len(steps))  # rows hold the steps in order
        return replace(batch, token_ids_BT=number_BT)

    def _logprobs(self, part: Batch) -> tuple[Tensor, Tensor]:
        features_NAF, action_N = self._table
        wanted_BT = part.mask_BT > 0
        number_N = part.token_ids_BT[wanted_BT]
        logprobs_NA = self.model(features_NAF[number_N])
        chosen_N = logprobs_NA.gather(1, action_N[number_N][:, None])[:, 0]
        with torch.no_grad():
            entropy_N = -(logprobs_NA.exp() * logprobs_NA).sum(dim=-1)
        zeros_BT = torch.zeros(wanted_BT.shape)
        return (
            zeros_BT.masked_scatter(wanted_BT, chosen_N),
            zeros_BT.masked_scatter(wanted_BT, entropy_N),
        )


def tensors(steps: Sequence[Step]) -> tuple[Tensor, Tensor]:
    """Features (N, A, F) and actions (N,) of these steps. TypeError for steps without a menu."""
    seen = []
    for step in steps:
        if not isinstance(step, MenuStep):
            raise TypeError(f"expected steps of a MenuCollector, got a {type(step).__name__}")
        seen.append(step.features_AF)
    actions = [step.completion.token_ids[0] for step in steps]
    return torch.from_numpy(np.stack(seen)), torch.tensor(actions)


def imitate(
    network: MenuNetwork,
    demonstrations: Sequence[Trajectory],
    *,
    steps: int,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> list[float]:
    """Make demonstrated actions likely, by `steps` steps of Adam; return the loss of each."""
    turns = [step for attempt in demonstrations for step in attempt.steps]
    features_NAF, action_N = tensors(turns)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    draws = np.random.default_rng(seed)
    losses = []
    for _ in range(steps):
        picked = torch.from_numpy(draws.integers(len(turns), size=batch_size))
        logprobs_NA = network(features_NAF[picked])
        loss = -logprobs_NA.gather(1, action_N[picked][:, None]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses

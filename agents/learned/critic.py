"""A critic: the return that the policy is going to get from a state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from agents.credit.base import FloatArray, GroupSignals, Ragged
from agents.credit.gae import advantages
from agents.credit.ragged import step_rewards
from agents.learned.base import Example, Fitting, Network, befores, split_like, with_learned
from agents.losses import Totals, value_loss


class Critic:
    """Gives "values": V(state in which the step was chosen), for GAE and SPA's critic form.

        target_t = A_t + V_t,  A_t = delta_t + gamma lam A_t+1      with the critic before the fit
        loss     = 1/2 max((V - target)^2, (clip(V, V_old +- clip) - target)^2)

    Units: those of the rewards; a critic that has not learned says 0 everywhere. Give it the
    gamma, lam and rewards of the estimator that reads it; without `rewards` they are the weighted
    process rewards and the outcome at the end. lam = 1 has the return itself as the target. PPO
    clips the change of a value in one fit to 0.5 (verl's default).

    Source: PPO, arXiv:1707.06347, and its value clipping as in verl.
    """

    gives: ClassVar[tuple[str, ...]] = ("values",)

    def __init__(
        self,
        fitting: Fitting = Fitting(),
        *,
        gamma: float = 1.0,
        lam: float = 1.0,
        process_weight: float = 0.0,
        clip: float = 0.5,
        rewards: Callable[[GroupSignals], FloatArray] | None = None,
    ) -> None:
        self.gamma, self.lam, self.clip = gamma, lam, clip
        self._rewards = rewards or partial(step_rewards, process_weight=process_weight)
        self._network = Network(fitting)

    def signals(self, examples: Sequence[Example]) -> list[Mapping[str, Ragged]]:
        """Return "values" of every example."""
        values_N = self._network.no_grad(befores(examples))
        return [{"values": values_GS} for values_GS in split_like(values_N, examples)]

    def fit(self, examples: Sequence[Example]) -> dict[str, float]:
        """Move the values towards their targets; returns loss and explained variance before it."""
        old_N = self._network.no_grad(befores(examples))
        target_N = self._targets(examples, split_like(old_N, examples))
        spread = float(target_N.var())
        explained = 1.0 - float((target_N - old_N).var()) / spread if spread else 0.0
        x_NF = torch.as_tensor(befores(examples))
        old, target = (torch.as_tensor(x, dtype=torch.float32) for x in (old_N, target_N))
        for _ in range(self._network.fitting.steps):
            rows = self._network.draw(len(x_NF))
            value = self._network(x_NF[rows])[:, None]
            loss, _ = value_loss(
                value,
                old[rows, None],
                target[rows, None],
                torch.ones_like(value),
                clip=self.clip,
                totals=Totals(tokens=len(rows), sequences=len(rows)),
            )
            last = self._network.descend(loss)
        return {"critic_loss": last, "critic_explained_variance": explained}

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return self._network.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._network.load_state_dict(state)

    def _targets(
        self, examples: Sequence[Example], values: Sequence[Ragged]
    ) -> FloatArray:
        targets = []
        for example, values_GS in zip(examples, values, strict=True):
            group = with_learned(example.signals, {"values": values_GS})
            credit_N = advantages(self._rewards(group), group, self.gamma, self.lam)
            targets.append(credit_N + np.concatenate(values_GS))
        return np.concatenate(targets)

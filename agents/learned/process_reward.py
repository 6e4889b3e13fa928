"""A process reward model: how likely an attempt succeeds after a step, learned from rollouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from agents.credit.base import FloatArray, Ragged
from agents.learned.base import Example, Fitting, Network, split_like, steps


class ProcessRewardModel:
    """Gives "step_score" in [0, 1]: the chance of success after the step, sharpened by certainty.

        R_t   = sigmoid(f(step_t, what came back))
        loss  = cross entropy of R_t with the label q_t, the share of rollouts from after the step
                that succeed
        score = R_t / (1 + H(R_t)) with `entropy_weight`, else R_t

    H is the entropy in nats of a coin that shows heads with chance R_t, so a step that leaves the
    end open counts less than one that settles it. Labels are soft; an example without labels is
    refused by `fit`.

    Source: Reward-SQL, arXiv:2505.04671. Its first version trains on step labels by tree search
    with cross entropy, and scores with the results of executed prefixes in view: so do features of
    a tier that hold what came back. The third version names a trajectory score by rollouts times
    an inverse entropy weight of the step; its formula is not public. RECONSTRUCTION: which entropy,
    and 1 / (1 + H).
    """

    gives: ClassVar[tuple[str, ...]] = ("step_score",)

    def __init__(self, fitting: Fitting = Fitting(), *, entropy_weight: bool = True) -> None:
        self.entropy_weight = entropy_weight
        self._network = Network(fitting)

    def signals(self, examples: Sequence[Example]) -> list[Mapping[str, Ragged]]:
        """Return "step_score" of every example."""
        chance_N = self.chances(examples)
        score_N = weighted(chance_N) if self.entropy_weight else chance_N
        return [{"step_score": score_GS} for score_GS in split_like(score_N, examples)]

    def chances(self, examples: Sequence[Example]) -> FloatArray:
        """Return R of every step of all examples, flat."""
        return np.asarray(1.0 / (1.0 + np.exp(-self._network.no_grad(steps(examples)))))

    def fit(self, examples: Sequence[Example]) -> dict[str, float]:
        """Learn the labels. Raises ValueError for an example without labels."""
        if any(not example.labels_GS for example in examples):
            raise ValueError("a process reward model learns from labels_GS: see monte_carlo")
        x_ND = torch.as_tensor(steps(examples))
        label_N = torch.tensor(
            np.concatenate([label_S for e in examples for label_S in e.labels_GS]),
            dtype=torch.float32,
        )
        for _ in range(self._network.fitting.steps):
            rows = self._network.draw(len(x_ND))
            logits = self._network(x_ND[rows])
            last = self._network.descend(binary_cross_entropy_with_logits(logits, label_N[rows]))
        return {"process_reward_loss": last}

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return self._network.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._network.load_state_dict(state)


def weighted(chance_N: FloatArray) -> FloatArray:
    """Return chance / (1 + entropy of the chance)."""
    inside_N = np.clip(chance_N, 1e-12, 1 - 1e-12)
    entropy_N = -inside_N * np.log(inside_N) - (1 - inside_N) * np.log(1 - inside_N)
    return np.asarray(chance_N / (1.0 + entropy_N))

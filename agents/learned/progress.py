"""SPA's progress estimator: contributions of steps that sum to the attempt's outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from agents.credit.base import Ragged
from agents.learned.base import Example, Fitting, Network, split_like, steps
from agents.losses import contribution_loss


class ProgressEstimator:
    """Gives "progress": the share c_t of every step in the outcome.

        R_i  ~  c_i1 + ... + c_iT        loss = mean_i (sum_t c_it - R_i)^2

    Nothing is asked of a single step, and no sign: what steps of one kind contribute follows from
    attempts that have them and attempts that have not. Contributions of an estimator that has not
    learned are 0.

    The paper puts a perceptron on the last hidden state of the step; its code a linear map on the
    logits there. What the features are is the tier's choice here. Drawn are whole attempts.

    Source: SPA-RL, arXiv:2505.20732.
    """

    gives: ClassVar[tuple[str, ...]] = ("progress",)

    def __init__(self, fitting: Fitting = Fitting()) -> None:
        self._network = Network(fitting)

    def signals(self, examples: Sequence[Example]) -> list[Mapping[str, Ragged]]:
        """Return "progress" of every example."""
        progress_N = self._network.no_grad(steps(examples))
        return [{"progress": progress_GS} for progress_GS in split_like(progress_N, examples)]

    def fit(self, examples: Sequence[Example]) -> dict[str, float]:
        """Bring the sums of the contributions closer to the outcomes."""
        x_BSD, mask_BS = _padded([f.step_SD for e in examples for f in e.features_G])
        outcome_B = torch.tensor(
            np.concatenate([example.signals.outcome_G for example in examples]),
            dtype=torch.float32,
        )
        for _ in range(self._network.fitting.steps):
            rows = self._network.draw(len(outcome_B))
            contributions_BS = self._network(x_BSD[rows])
            loss = contribution_loss(contributions_BS, mask_BS[rows], outcome_B[rows])
            last = self._network.descend(loss)
        return {"progress_loss": last}

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return self._network.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._network.load_state_dict(state)


def _padded(rows: Sequence[np.typing.NDArray[np.float32]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Attempts of unequal length as one tensor (B, S, D), and where it holds steps (B, S)."""
    longest = max(map(len, rows))
    x_BSD = torch.zeros(len(rows), longest, rows[0].shape[1])
    mask_BS = torch.zeros(len(rows), longest)
    for place, x_SD in enumerate(rows):
        x_BSD[place, : len(x_SD)] = torch.as_tensor(x_SD)
        mask_BS[place, : len(x_SD)] = 1.0
    return x_BSD, mask_BS

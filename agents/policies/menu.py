"""A small network that chooses from a menu, and the script it learns its first habits from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from text2sql_gym.wrappers.menu import FEATURES, Feature, Item, Kind, Menu

FloatArray = npt.NDArray[np.float64]
_NEVER = -1e9  # logit of an action that cannot be taken: its probability is exactly 0


class Choice(NamedTuple):
    """What was chosen in N states.

    `chance_N` is the chance that the policy, made to answer now, gives the right answer.
    """

    action_N: npt.NDArray[np.int64]
    logprob_N: FloatArray
    chance_N: FloatArray


class Chooser(Protocol):
    """What a rollout asks of a policy over menus."""

    def choose(
        self,
        features_NAF: npt.NDArray[np.float32],
        right_N: npt.NDArray[np.int64],
        uniform_N: FloatArray | None,
        forced_N: npt.NDArray[np.int64],
    ) -> Choice:
        """Choose an action in each state, by one number in [0, 1) each; greedily without.

        Where `forced_N` is not negative it is the choice. `right_N` numbers the submission of the
        right candidate; it serves the measurement `chance_N` only.
        """


class MenuNetwork(nn.Module):
    """Scores every action from its own features and the mean over the actions of a menu.

    The same weights score every action, so the place of an action in the menu means nothing and
    what is learnt of one candidate holds for all.
    """

    def __init__(self, hidden: int = 64, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.read = nn.Sequential(nn.Linear(FEATURES, hidden), nn.Tanh())
            self.mix = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.Tanh())
            self.score = nn.Linear(hidden, 1)
        with torch.no_grad():
            self.score.weight.mul_(0.1)  # nearly uniform at first

    def forward(self, features_NAF: Tensor) -> Tensor:
        """Log-probabilities (N, A) of the actions of each menu."""
        available_NA = features_NAF[..., Feature.AVAILABLE] > 0
        read_NAH = self.read(features_NAF) * available_NA[..., None]
        mean_NH = read_NAH.sum(dim=1) / available_NA.sum(dim=1, keepdim=True)
        mean_NAH = mean_NH[:, None].expand_as(read_NAH)
        logits_NA = self.score(self.mix(torch.cat([read_NAH, mean_NAH], dim=-1)))[..., 0]
        return torch.log_softmax(logits_NA.masked_fill(~available_NA, _NEVER), dim=-1)

    @torch.no_grad()
    def choose(
        self,
        features_NAF: npt.NDArray[np.float32],
        right_N: npt.NDArray[np.int64],
        uniform_N: FloatArray | None,
        forced_N: npt.NDArray[np.int64],
    ) -> Choice:
        """Choose as `Chooser` says."""
        inputs = torch.from_numpy(features_NAF)
        logprobs_NA = self(inputs).double().numpy()
        chance_NA = np.exp(logprobs_NA)
        rows = np.arange(len(logprobs_NA))
        if uniform_N is None:
            action_N = logprobs_NA.argmax(axis=1)
        else:
            sums_NA = np.cumsum(chance_NA, axis=1)
            action_N = (sums_NA <= uniform_N[:, None] * sums_NA[:, -1:]).sum(axis=1)
        action_N = np.where(forced_N >= 0, forced_N, action_N)
        answers_NA = chance_NA * features_NAF[..., Kind.SUBMIT]
        right = answers_NA[rows, right_N] / np.maximum(answers_NA.sum(axis=1), 1e-300)
        return Choice(action_N, logprobs_NA[rows, action_N], right)


@dataclass(frozen=True)
class MenuAnalyst:
    """A wasteful analyst who half knows the answer: a script to imitate before reinforcement.

    Each habit has its own probability: `peek` at a table; `look` at a column (the right one with
    probability `aim`, else any); `propose` a schema; `slip` in a trial; `trial` of a candidate;
    `repeat` of the last call. At last it submits the right candidate with probability `know`,
    else any.
    """

    peek: float = 0.4
    look: float = 0.8
    aim: float = 0.4
    trial: float = 0.4
    slip: float = 0.2
    repeat: float = 0.3
    propose: float = 0.3
    know: float = 0.3

    def __call__(self, menu: Menu, draws: np.random.Generator) -> list[int]:
        """Return the actions of one episode."""
        chosen: list[int] = []
        for kind, habit in ((Kind.PEEK, self.peek), (Kind.LOOK, self.look),
                            (Kind.PROPOSE, self.propose), (Kind.SLIP, self.slip),
                            (Kind.TRIAL, self.trial)):
            if draws.random() < habit and _of(menu, kind):
                chosen.append(self._pick(menu, kind, draws))
        if chosen and draws.random() < self.repeat:
            chosen.insert(int(draws.integers(len(chosen))) + 1, _repeat(menu))
        know = draws.random() < self.know
        return [*chosen, menu.right_action if know else _any(menu, Kind.SUBMIT, draws)]

    def _pick(self, menu: Menu, kind: Kind, draws: np.random.Generator) -> int:
        if kind is Kind.LOOK and draws.random() < self.aim:
            right = menu.candidates[menu.right].lookup
            for number, item in _of(menu, kind):
                if (item.lookup.table, item.lookup.column) == (right.table, right.column):
                    return number
        return _any(menu, kind, draws)


def _of(menu: Menu, kind: Kind) -> list[tuple[int, Item]]:
    return [(n, item) for n, item in enumerate(menu.items) if item and item.kind is kind]


def _any(menu: Menu, kind: Kind, draws: np.random.Generator) -> int:
    numbers = [number for number, _ in _of(menu, kind)]
    return numbers[int(draws.integers(len(numbers)))]


def _repeat(menu: Menu) -> int:
    return _of(menu, Kind.REPEAT)[0][0]

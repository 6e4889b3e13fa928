"""Independent baselines on the menu tier: PPO of stable-baselines3, MaskablePPO of sb3-contrib.

    python experiments/sb3_baseline.py --algorithm sb3_maskable_ppo --seeds 3

They see the menu as one flat vector, keep the libraries' defaults except for the learning rate and
the size of a rollout, maximise the environment's scalar reward, and start from the same
demonstrations as everybody else. Needs the extra ``sb3``; a run takes about half a minute.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, uninstalled

from agents.menu_trainer import tensors
from agents.policies.menu import Choice
from experiments.credit_benchmark.variants import BASELINES, Spec, Variant
from experiments.flags import option, parse
from text2sql_gym.registry import lookup
from text2sql_gym.wrappers.menu import Feature

if TYPE_CHECKING:
    from experiments.credit_benchmark.menu_tier import Arena

_ENVS = 16
_STEPS = 16  # of each environment per update: about as many episodes as a batch of groups


def make_model(algorithm: str, vector: Any, rate: float, seed: int) -> Any:
    """A model of one of `BASELINES`; SystemExit naming the extra where the library is missing."""
    try:
        from sb3_contrib import MaskablePPO
        from stable_baselines3 import PPO
    except ImportError as error:
        raise SystemExit(f"baselines need: pip install 'text2sql-gym[sb3]' ({error})") from error
    build = lookup(dict(zip(BASELINES, (PPO, MaskablePPO), strict=True)), algorithm, "baseline")
    return build("MlpPolicy", vector, learning_rate=rate, n_steps=_STEPS, seed=seed, device="cpu")


class BaselineChooser:
    """A model of stable-baselines3 as a policy of `MenuCollector`; it cannot be forced."""

    def __init__(self, model: Any, *, masked: bool) -> None:
        self._model, self._masked = model, masked

    @torch.no_grad()
    def choose(
        self,
        features_NAF: npt.NDArray[np.float32],
        right_N: npt.NDArray[np.int64],
        uniform_N: npt.NDArray[np.float64] | None,
        forced_N: npt.NDArray[np.int64],
    ) -> Choice:
        """Choose by the number drawn, or the most likely action."""
        if (forced_N >= 0).any():
            raise ValueError("a baseline chooses by itself")
        flat = torch.from_numpy(features_NAF.reshape(len(features_NAF), -1))
        more = {"action_masks": _masks(features_NAF)} if self._masked else {}
        distribution = self._model.policy.get_distribution(flat, **more).distribution
        chance_NA = distribution.probs.double().numpy()
        sums_NA = np.cumsum(chance_NA, axis=1)
        action_N = chance_NA.argmax(axis=1)
        if uniform_N is not None:
            action_N = (sums_NA <= uniform_N[:, None] * sums_NA[:, -1:]).sum(axis=1)
        logprob_N = np.log(chance_NA[np.arange(len(flat)), action_N])
        return Choice(action_N, logprob_N, np.zeros(len(flat)))


def _masks(features_NAF: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    return features_NAF[..., Feature.AVAILABLE] > 0


def train_baseline(spec: Spec, arena: Arena) -> dict[str, Any]:
    """Train one baseline for as many episodes as everybody; return what a run returns."""
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import DummyVecEnv

    from experiments.credit_benchmark.menu_tier import Curve

    settings = arena.settings
    batch = settings.tasks * settings.group_size
    vector = DummyVecEnv([arena.make_training_env] * _ENVS)
    masked = spec.variant.estimator == "sb3_maskable_ppo"
    model = make_model(spec.variant.estimator, vector, spec.rate, spec.seed)
    imitate_with(model, arena, masked=masked)
    chooser, curve = BaselineChooser(model, masked=masked), Curve(arena)
    curve.add(0, chooser)

    class Evaluate(BaseCallback):  # type: ignore[misc]
        """Counts episodes, evaluates now and then, and stops after the last one."""

        episodes = 0

        def _on_step(self) -> bool:
            self.episodes += int(self.locals["dones"].sum())
            return self.episodes < settings.updates * batch

        def _on_rollout_end(self) -> None:
            due = curve.episodes[-1] + settings.evaluate_every * batch
            if due <= self.episodes < settings.updates * batch:
                curve.add(self.episodes, chooser)

    counter = Evaluate()
    try:
        model.learn(total_timesteps=10**9, callback=counter)
    finally:
        vector.close()
    curve.add(counter.episodes, chooser, last=True)
    return {**curve.as_dict(), "extra_episodes": 0}


def imitate_with(model: Any, arena: Arena, *, masked: bool) -> None:
    """Make the demonstrations of the warm start likely, as `imitate` does for the small network."""
    turns = [step for attempt in arena.demonstrations() for step in attempt.steps]
    features_NAF, action_N = tensors(turns)
    flat_NX, masks_NA = features_NAF.flatten(1), _masks(features_NAF.numpy())
    optimizer = torch.optim.Adam(model.policy.parameters(), lr=3e-3)
    draws = np.random.default_rng(arena.seed)
    for _ in range(arena.settings.imitation_steps):
        picked = draws.integers(len(turns), size=256)
        more = {"action_masks": masks_NA[picked]} if masked else {}
        _, logprob_N, _ = model.policy.evaluate_actions(flat_NX[picked], action_N[picked], **more)
        optimizer.zero_grad()
        (-logprob_N.mean()).backward()
        optimizer.step()


@dataclass(frozen=True)
class Config:
    """Train an independent baseline on the menu tier, and print a line of JSON per seed."""

    algorithm: str = option("sb3_maskable_ppo", "sb3_ppo or sb3_maskable_ppo")
    seeds: int = option(1, "number of seeds, from 0 on")
    rate: float = option(1e-3, "learning rate")
    updates: int = option(12, "batches of 64 episodes")

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(BASELINES), self.algorithm, "baseline")


def main() -> None:
    """Run every seed."""
    from experiments.credit_benchmark import menu_tier

    config = parse(Config)
    settings = menu_tier.MenuSettings(updates=config.updates).as_dict()
    for seed in range(config.seeds):
        variant = Variant(config.algorithm, config.algorithm)
        print(json.dumps(menu_tier.run(Spec("menu", variant, config.rate, seed, settings))))


if __name__ == "__main__":
    main()

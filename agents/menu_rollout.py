"""Collect groups of attempts on menus: all episodes of a batch in lockstep, in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.credit.base import FloatArray
from agents.learned.gold import proposal_signals
from agents.policies.menu import Choice, Chooser
from agents.rollout import record_step
from agents.types import Completion, Ended, Group, Step, Trajectory
from text2sql_gym.rewards.schema_linking import SchemaItems, schema_score
from text2sql_gym.wrappers.action_menu import ActionMenu
from text2sql_gym.wrappers.menu import FEATURES, Menu

SIGNALS = frozenset({
    "outcome", "process", "states", "trees", "tokens", "information_gain", "greedy", "grounding",
    "schema_reward", "schema_phase",
})
"""What a `MenuCollector` can tell estimators of, by the names in their `needs`."""

Script = Callable[[Menu, np.random.Generator], Sequence[int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class MenuStep(Step):
    """A turn that was chosen from a menu: its one token is the number of the action.

    `features_AF` is what the policy saw.
    Signals: "information_gain" (of the chance that the
    policy, made to answer, is right), "grounding", "schema_reward" and "schema_phase" (of
    proposals), and "greedy" where it was asked for.
    """

    features_AF: npt.NDArray[np.float32]


@dataclass
class _Attempt:
    """One episode under way; `forced` are actions to take before the policy chooses."""

    env: ActionMenu
    features_AF: npt.NDArray[np.float32]
    info: dict[str, Any]
    uniform_T: npt.NDArray[np.float64]
    forced: Sequence[int] = ()
    steps: list[MenuStep] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)
    ended: Ended | None = None

    @property
    def turn(self) -> int:
        return len(self.steps)

    def take(self, action: int, logprob: float, chance: float) -> None:
        """Take a turn and write it down."""
        features_AF, before = self.features_AF, self.info
        completion = Completion((action,), (logprob,), self.env.turn(action))
        observation, _, terminated, truncated, info = self.env.step(action)
        step = record_step((), completion, info["answer"], info, self.env.base)
        more = {"state_key": before["menu_state"], "before": before["state"]}
        self.steps.append(MenuStep(**vars(step) | more, features_AF=features_AF))
        self.chances.append(chance)
        self.features_AF, self.info = observation.reshape(-1, FEATURES), info
        if terminated or truncated:
            self.ended = Ended.SUBMITTED if terminated else Ended.STEP_LIMIT


class MenuCollector:
    """Runs episodes of a `Chooser`; owns one environment per attempt of a batch.

    The draws of an attempt depend on `seed` and its number alone. `schema_mode` says how
    proposals are scored for "schema_reward": a name in `schema_score`'s modes.
    """

    def __init__(
        self, make_env: Callable[[], ActionMenu], *, schema_mode: str = "total_match"
    ) -> None:
        self._make_env, self._schema_mode = make_env, schema_mode
        self._envs: list[ActionMenu] = []

    def close(self) -> None:
        """Close the environments."""
        while self._envs:
            self._envs.pop().close()

    def collect(
        self,
        network: Chooser,
        task_ids: Sequence[str],
        group_size: int,
        seed: int,
        *,
        sampled: bool = True,
        greedy: bool = False,
        branches: bool = False,
    ) -> list[Group]:
        """Return one group of `group_size` attempts per task, in the order of `task_ids`.

        Without `sampled` every attempt is greedy. `greedy` adds the signal of that name, at the
        cost of one more attempt per task. With `branches` every second attempt goes on from
        a random step of the one before it and forms a tree with it (`Group.trees`).
        """
        attempts = self._open(task_ids, group_size, seed)
        if branches:
            self._play(network, attempts[::2], sampled)
            for trunk, branch in zip(attempts[::2], attempts[1::2], strict=True):
                cut = int(branch.uniform_T[-1] * trunk.turn)
                branch.forced = [step.completion.token_ids[0] for step in trunk.steps[:cut]]
            self._play(network, attempts[1::2], sampled)
        else:
            self._play(network, attempts, sampled)
        trajectories = [self._finished(attempt) for attempt in attempts]
        if greedy:
            self._add_greedy(network, trajectories, task_ids, group_size, seed)
        trees = [str(number // 2) for number in range(group_size)] if branches else []
        return [
            Group(task_id, tuple(trajectories[place * group_size :][:group_size]), tuple(trees))
            for place, task_id in enumerate(task_ids)
        ]

    def demonstrate(
        self, script: Script, network: Chooser, task_ids: Sequence[str], seed: int
    ) -> list[Trajectory]:
        """Return one attempt per task in which a script chooses."""
        attempts = self._open(task_ids, 1, seed)
        for number, attempt in enumerate(attempts):
            attempt.forced = script(attempt.env.menu, np.random.default_rng([seed, number, 1]))
        self._play(network, attempts, True)
        return [self._finished(attempt) for attempt in attempts]

    def _open(self, task_ids: Sequence[str], group_size: int, seed: int) -> list[_Attempt]:
        names = [task_id for task_id in task_ids for _ in range(group_size)]
        while len(self._envs) < len(names):
            self._envs.append(self._make_env())
        attempts = []
        for number, (name, env) in enumerate(zip(names, self._envs, strict=False)):
            observation, info = env.reset(options={"task_id": name})
            uniform_T = np.random.default_rng([seed, number]).random(env.base.max_turns + 1)
            attempts.append(_Attempt(env, observation.reshape(-1, FEATURES), info, uniform_T))
        return attempts

    def _play(self, network: Chooser, attempts: Sequence[_Attempt], sampled: bool) -> None:
        """Let every attempt take its next turn until all have ended."""
        running = list(attempts)
        while running:
            choice = _choose(network, running, sampled)
            for attempt, action, logprob, chance in zip(running, *choice, strict=True):
                attempt.take(int(action), float(logprob), float(chance))
            running = [attempt for attempt in running if attempt.ended is None]

    def _finished(self, attempt: _Attempt) -> Trajectory:
        info = attempt.info
        gains = [*np.diff(attempt.chances), 0.0]
        schema = self._schema_signals(attempt.steps, attempt.env.menu)
        steps = tuple(
            replace(step, signals={
                **step.signals,
                "information_gain": float(gain),
                "schema_reward": float(reward),
                "schema_phase": float(phase),
            })
            for step, gain, reward, phase in zip(attempt.steps, gains, *schema, strict=True)
        )
        assert attempt.ended is not None, "only attempts that have ended are finished"
        return Trajectory(
            info["task_id"], info["difficulty"], steps, attempt.ended, info["outcome"]
        )

    def _schema_signals(self, steps: Sequence[Step], menu: Menu) -> tuple[FloatArray, FloatArray]:
        """Proposals are scored against what the engine says that the gold query reads."""

        def score(step: Step) -> float:
            proposed = menu.action(menu.by_turn[step.completion.text]).schema
            gold = SchemaItems.of_pairs(menu.reads)
            return schema_score(SchemaItems.of_pairs(proposed), gold, self._schema_mode)

        return proposal_signals(steps, score)

    def _add_greedy(
        self,
        network: Chooser,
        trajectories: list[Trajectory],
        task_ids: Sequence[str],
        group_size: int,
        seed: int,
    ) -> None:
        """Write the score of a greedy attempt at the same task on every step."""
        attempts = self._open(task_ids, 1, seed)
        self._play(network, attempts, False)
        for number, trajectory in enumerate(trajectories):
            score = self._finished(attempts[number // group_size]).outcome_reward
            trajectories[number] = replace(
                trajectory,
                steps=tuple(
                    replace(step, signals={**step.signals, "greedy": score})
                    for step in trajectory.steps
                ),
            )


def _choose(network: Chooser, running: Sequence[_Attempt], sampled: bool) -> Choice:
    """Choose for all; an attempt with a forced action takes that, with its own probability."""
    features_NAF = np.stack([attempt.features_AF for attempt in running])
    right_N = np.array([attempt.env.menu.right_action for attempt in running])
    uniform_N = np.array([attempt.uniform_T[attempt.turn] for attempt in running])
    forced_N = np.array(
        [a.forced[a.turn] if a.turn < len(a.forced) else -1 for a in running], dtype=np.int64
    )
    return network.choose(features_NAF, right_N, uniform_N if sampled else None, forced_N)

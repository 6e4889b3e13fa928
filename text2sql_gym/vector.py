"""`Text2SQLVectorEnv`: many episodes at once, their long statements side by side."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.turns import Answer, Turns

T = TypeVar("T")

_Step = tuple[
    tuple[str, ...],
    NDArray[np.float64],
    NDArray[np.bool_],
    NDArray[np.bool_],
    dict[str, Any],
]


class Text2SQLVectorEnv(gym.vector.VectorEnv[tuple[str, ...], Sequence[str], NDArray[Any]]):
    """`num_envs` environments with the same arguments, which `gym.make_vec` makes.

    ## Description
    Light statements are answered at once; the others run side by side in as many worker processes
    as there are cores, so that a slow query delays the answer of its own episode only. Everything
    else runs in the caller's thread. What comes back is what single environments with the same
    seeds give, whatever ends first.

    ## Gymnasium's calls
    `reset` and `step` as in `SyncVectorEnv`, with infos of the same form: an array and a mask
    ``_key`` per key. A seed is counted up over the environments, or is a list. The options
    "task_id" and "state" are one for all, or a list of one each; "reset_mask" resets some.

    ## Some at a time
    `step_some` steps the episodes whose turn is ready, and waits for these. `submit` begins a turn
    and returns; `collect` gives out the answers that are there, in the order in which they came,
    and with ``wait=True`` waits for one. `reset_some` and `submit_reset` are the same for resets.
    These calls never reset by themselves, and give an `Answer` per environment.

    ## Arguments
    - `num_envs`: how many environments.
    - `autoreset_mode`: "NextStep" (an ended episode is reset by the next `step`, which ignores its
      action), "SameStep" (at once; the last observation and info are ``final_obs`` and
      ``final_info``), or "Disabled" (by the caller, with "reset_mask"; stepping it is an error).
    - all others: those of `Text2SQLEnv`.

    ## Faults
    An `EnvironmentFault` says in a note which environment it hit; that one is as it was before the
    call. The calls that wait raise the first fault when all others are through. `step` and
    `step_some` leave what these answered, or failed with, to `collect`; `reset` and `reset_some`
    can be made again, and drop it. `collect` raises a fault when its turn in the order has come.
    """

    metadata: dict[str, Any] = {
        **Text2SQLEnv.metadata,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        **arguments: Any,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        self.num_envs = num_envs
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        first = Text2SQLEnv(**arguments)
        self.envs = (first, *(_twin(first) for _ in range(num_envs - 1)))
        self.render_mode = first.render_mode
        self.single_action_space = first.action_space
        self.single_observation_space = first.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._observations = dict.fromkeys(range(num_envs), "")
        self._turns = Turns()

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Begin an episode in every environment, or in those of ``options["reset_mask"]``.

        The observations of the others are their last ones; the infos have no entry for them.
        """
        given = dict(options or {})
        chosen = self._masked(given.pop("reset_mask", None))
        seeds, options_of = self._seeds(seed), self._options(given)
        answers = self.reset_some({i: options_of[i] for i in chosen}, {i: seeds[i] for i in chosen})
        infos: dict[str, Any] = {}
        for index in chosen:
            infos = self._add_info(infos, answers[index].info, index)
        return tuple(self._observations.values()), infos

    def step(self, actions: Sequence[str]) -> _Step:
        """Take one turn in every environment; see `gymnasium.vector.SyncVectorEnv`."""
        if len(actions) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} actions, got {len(actions)}")
        self._expect_idle(range(self.num_envs))
        next_step = self.autoreset_mode is AutoresetMode.NEXT_STEP
        to_reset = [i for i, env in enumerate(self.envs) if next_step and env.ended]
        self._expect_running(set(range(self.num_envs)) - set(to_reset))
        for index, action in enumerate(actions):
            self.submit_reset(index) if index in to_reset else self.submit(index, action)
        again = self.autoreset_mode is AutoresetMode.SAME_STEP
        given = self._all_answers(keep=True, reset_ended=again)
        last = {answer.env_id: answer for answer in given if answer.ended and again}
        return self._batch({answer.env_id: answer for answer in given}, last)

    def step_some(self, actions: Mapping[int, str]) -> dict[int, Answer]:
        """Take a turn in the environments named by index, side by side; wait for these."""
        self._expect_idle(range(self.num_envs))
        self._expect_running(actions)
        for index, action in actions.items():
            self.submit(index, action)
        return {answer.env_id: answer for answer in self._all_answers(keep=True)}

    def reset_some(
        self,
        options: Mapping[int, dict[str, Any] | None],
        seeds: Mapping[int, int | None] | None = None,
    ) -> dict[int, Answer]:
        """Reset the environments named by index, each with options of its own; wait for these."""
        self._expect_idle(range(self.num_envs))
        for index, given in options.items():
            self.submit_reset(index, seed=(seeds or {}).get(index), options=given)
        return {answer.env_id: answer for answer in self._all_answers(keep=False)}

    def submit(self, index: int, action: str) -> None:
        """Begin a turn of one environment; `collect` will give its answer."""
        self._expect_idle([index])
        self._expect_running([index])
        self._turns.step(index, self.envs[index], action)

    def submit_reset(
        self, index: int, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> None:
        """Begin a reset of one environment; `collect` will give its answer."""
        self._expect_idle([index])
        env, given = self.envs[index], options
        if not given:  # a turn may be tried several times, and must not draw several times
            gym.Env.reset(env, seed=seed)
            given, seed = {"task_id": env.draw().task_id}, None
        self._turns.begin(index, env, partial(_reset, index, env, seed, given))

    def collect(self, *, wait: bool = True) -> list[Answer]:
        """Give out the answers that are there, in the order in which they came.

        With `wait`, at least one if any was submitted. A fault is raised when it comes first; the
        answers behind it stay for the next call.
        """
        over = self._turns.take(wait=wait)
        answers: list[Answer] = []
        for place, (index, answer) in enumerate(over):
            if isinstance(answer, Answer):
                self._observations[index] = answer.observation
                answers.append(answer)
            else:
                self._turns.put_back(over[place + bool(not answers) :])
                if not answers:
                    raise answer
                break
        return answers

    @property
    def pending(self) -> list[int]:
        """The environments whose answer was not collected yet."""
        return sorted(set(self._turns.indices))

    def render(self) -> tuple[str | None, ...]:  # type: ignore[override]
        """Return what every environment renders."""
        return tuple(env.render() for env in self.envs)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of every environment, or read an attribute that is not callable."""
        found = self.get_attr(name)
        return tuple(one(*args, **kwargs) if callable(one) else one for one in found)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Read an attribute of every environment."""
        return tuple(env.get_wrapper_attr(name) for env in self.envs)

    def close_extras(self, **kwargs: Any) -> None:
        """Drop the turns under way and close every environment.

        A statement that a worker is at ends first, within its limits.
        """
        self._turns.drop()
        for env in self.envs:
            env.close()

    def _all_answers(self, *, keep: bool, reset_ended: bool = False) -> list[Answer]:
        """Wait for every turn under way, also for the resets that follow ended episodes.

        Where one failed, its error is raised; with `keep`, the others' answers are put back before.
        """
        over: list[tuple[int, Answer | Exception]] = []
        while self.pending:
            for index, answer in self._turns.take(wait=True):
                over.append((index, answer))
                if reset_ended and isinstance(answer, Answer) and answer.ended:
                    self.submit_reset(index)
        for place, (_, answer) in enumerate(over):
            if isinstance(answer, Exception):
                self._turns.put_back([*over[:place], *over[place + 1 :]] if keep else [])
                raise answer
        answers = [answer for _, answer in over if isinstance(answer, Answer)]
        self._observations |= {answer.env_id: answer.observation for answer in answers}
        return answers

    def _batch(self, answers: Mapping[int, Answer], last: Mapping[int, Answer]) -> _Step:
        """Return the answers in Gymnasium's form; `last` are those of episodes reset since."""
        infos: dict[str, Any] = {}
        for index in range(self.num_envs):
            if index in last:
                final = {"final_obs": last[index].observation, "final_info": last[index].info}
                infos = self._add_info(infos, final, index)
            infos = self._add_info(infos, answers[index].info, index)
        paid = [last.get(index, answers[index]) for index in range(self.num_envs)]
        return (
            tuple(self._observations.values()),
            np.array([answer.reward for answer in paid], dtype=np.float64),
            np.array([answer.terminated for answer in paid], dtype=np.bool_),
            np.array([answer.truncated for answer in paid], dtype=np.bool_),
            infos,
        )

    def _masked(self, mask: Any) -> list[int]:
        if mask is None:
            return list(range(self.num_envs))
        boolean = isinstance(mask, np.ndarray) and mask.dtype == np.bool_
        if not boolean or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"options: expected as reset_mask {self.num_envs} booleans in a numpy array, one of"
                f" them true, got {mask!r}"
            )
        return [int(index) for index in np.flatnonzero(mask)]

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + index for index in range(self.num_envs)]
        return self._one_each("seed", seed)

    def _options(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        values = {
            name: self._one_each(name, value)
            if isinstance(value, (list, tuple))
            else [value] * self.num_envs
            for name, value in given.items()
        }
        return [{name: values[name][i] for name in values} for i in range(self.num_envs)]

    def _one_each(self, name: str, values: Sequence[T]) -> list[T]:
        if len(values) != self.num_envs:
            raise ValueError(f"{name}: expected {self.num_envs} values, got {len(values)}")
        return list(values)

    def _expect_idle(self, indices: Iterable[int]) -> None:
        if beyond := [index for index in indices if not 0 <= index < self.num_envs]:
            raise IndexError(f"expected an index below {self.num_envs}, got {beyond}")
        if busy := sorted(set(indices) & set(self.pending)):
            raise RuntimeError(f"environments {busy} have a turn under way: collect() it first")

    def _expect_running(self, indices: Iterable[int]) -> None:
        if over := sorted(index for index in indices if not self.envs[index].running):
            raise gym.error.ResetNeeded(f"no episode is running in environments {over}: reset them")


def _twin(env: Text2SQLEnv) -> Text2SQLEnv:
    """Return an environment with the same arguments; tasks are shared, not loaded again."""
    twin = copy.copy(env)
    twin.action_space = copy.deepcopy(env.action_space)
    twin.observation_space = copy.deepcopy(env.observation_space)
    return twin


def _reset(
    index: int, env: Text2SQLEnv, seed: int | None, options: dict[str, Any] | None
) -> Answer:
    observation, info = env.reset(seed=seed, options=options)
    return Answer(index, observation, 0.0, False, False, info)

"""Episodes with a policy that speaks text: an endpoint or a script, several at a time.

`agents.rollout` is for policies whose tokens are known and trained; nothing here can be trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np

from agents.policies.endpoint import Endpoint
from agents.policies.scripted import Script
from agents.rollout import how_it_ended, record_step
from agents.types import Completion, Ended, Group, Step, Trajectory
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols import Message
from text2sql_gym.types import Limits

Speaker = Callable[[Sequence[Message]], Completion | Ended]
"""Writes the next turn from all messages so far, or says why there is none."""

Begin = Callable[[Text2SQLEnv, float, int], Speaker]
"""Makes the speaker of one episode from the environment just reset, a temperature and a seed."""


def converse(
    env: Text2SQLEnv, begin: Begin, task_id: str, temperature: float, seed: int
) -> Trajectory:
    """Play one episode. Its steps have no context ids."""
    _, info = env.reset(options={"task_id": task_id})
    speaker, messages = begin(env, temperature, seed), list(info["messages"])
    steps: list[Step] = []
    ended: Ended | None = None
    while ended is None:
        completion = speaker(messages)
        if isinstance(completion, Ended):
            ended = completion
            break
        observation, _, terminated, truncated, info = env.step(completion.text)
        steps.append(record_step((), completion, observation, info, env))
        messages += [{"role": "assistant", "content": completion.text}, *info["messages"]]
        ended = how_it_ended(terminated, truncated, completion.stopped)
    return Trajectory(task_id, info["difficulty"], tuple(steps), ended, info["outcome"])


class Conversations:
    """Plays groups of episodes in `workers` threads, each with an environment of its own."""

    def __init__(self, make_env: Callable[[], Text2SQLEnv], begin: Begin, workers: int = 1) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self._begin, self._workers = begin, workers
        self._all = [make_env() for _ in range(workers)]
        self._idle: SimpleQueue[Text2SQLEnv] = SimpleQueue()
        for env in self._all:
            self._idle.put(env)

    @property
    def limits(self) -> Limits:
        """The limits of its environments."""
        return self._all[0].limits

    def close(self) -> None:
        """Close the environments."""
        for env in self._all:
            env.close()

    def collect(
        self,
        task_ids: Sequence[str],
        group_size: int,
        temperature: float,
        seed: int,
        on_done: Callable[[], None] = lambda: None,
    ) -> list[Group]:
        """Return one group of `group_size` attempts per task, in the order of `task_ids`.

        The first error of an episode is raised when those under way have ended.
        """
        places = [(place, member) for place in range(len(task_ids)) for member in range(group_size)]

        def play(place: int, member: int) -> Trajectory:
            env = self._idle.get()
            try:
                drawn = (seed << 24) + place * group_size + member
                return converse(env, self._begin, task_ids[place], temperature, drawn)
            finally:
                self._idle.put(env)
                on_done()

        pool = ThreadPoolExecutor(self._workers)
        try:
            attempts = list(pool.map(play, *zip(*places, strict=True))) if places else []
        finally:
            pool.shutdown(cancel_futures=True)
        return [
            Group(task_id, tuple(attempts[place * group_size : (place + 1) * group_size]))
            for place, task_id in enumerate(task_ids)
        ]


def endpoint(server: Endpoint) -> Begin:
    """The speaker of a model behind an endpoint."""

    def begin(env: Text2SQLEnv, temperature: float, seed: int) -> Speaker:
        tools = env.protocol.tool_schemas

        def speak(messages: Sequence[Message]) -> Completion | Ended:
            completion = server.complete(messages, temperature, seed, tools)
            return Ended.TOKEN_LIMIT if completion is None else completion

        return speak

    return begin


def scripted(script: Script) -> Begin:
    """The speaker of a script, which knows the gold query; its turns are counted as no tokens."""

    def begin(env: Text2SQLEnv, temperature: float, seed: int) -> Speaker:
        turns = iter(script(env.task, env.schema, np.random.default_rng(seed)))

        def speak(messages: Sequence[Message]) -> Completion | Ended:
            turn = next(turns, None)
            return Ended.STEP_LIMIT if turn is None else Completion((), (), turn)

        return speak

    return begin

"""Run a script through the environment and keep what a policy would have seen and said."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from agents.chat import Chat
from agents.policies.scripted import Script
from agents.rollout import record_step
from agents.types import Completion, Ended, Step, Trajectory
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols import AgentProtocol
from text2sql_gym.protocols.finestep import FineStep


def demonstrate(
    env: Text2SQLEnv,
    chat: Chat,
    script: Script,
    task_ids: Sequence[str],
    seed: int,
    on_done: Callable[[], None] = lambda: None,
) -> list[Trajectory]:
    """One scripted episode per task id (an id may occur often), with log-probabilities of 0.

    The draws of an episode depend on (seed, its place in `task_ids`).
    """
    attempts = []
    for place, task_id in enumerate(task_ids):
        attempts.append(_episode(env, chat, script, task_id, np.random.default_rng((seed, place))))
        on_done()
    return attempts


def texts(env: Text2SQLEnv, script: Script, task_ids: Sequence[str], seed: int) -> list[str]:
    """All texts of scripted episodes: what a tokenizer is trained on."""
    found = []
    for place, task_id in enumerate(task_ids):
        _, info = env.reset(options={"task_id": task_id})
        found += [message["content"] for message in info["messages"]]
        turns = script(env.task, env.schema, np.random.default_rng((seed, place)))
        for turn in turns:
            observation, _, terminated, truncated, _ = env.step(turn)
            found += [turn, observation]
            if terminated or truncated:
                break
    return found


def _in(protocol: AgentProtocol, turn: str) -> str:
    """A turn of a script, which speaks FineStep's protocol, in another one."""
    if isinstance(protocol, FineStep):
        return turn
    thought = turn.partition("<reasoning>")[2].partition("</reasoning>")[0]
    return protocol.write(FineStep().parse(turn), thought)


def _episode(
    env: Text2SQLEnv, chat: Chat, script: Script, task_id: str, draws: np.random.Generator
) -> Trajectory:
    _, info = env.reset(options={"task_id": task_id})
    context_ids = chat.prompt_ids(info["messages"], info["tool_schemas"])
    steps: list[Step] = []
    ended = Ended.STEP_LIMIT
    for turn in script(env.task, env.schema, draws):
        turn = _in(env.protocol, turn)
        observation, _, terminated, truncated, info = env.step(turn)
        ids = chat.turn_ids(turn)
        completion = Completion(ids, (0.0,) * len(ids), turn)
        steps.append(record_step(context_ids, completion, observation, info, env))
        if terminated or truncated:
            ended = Ended.SUBMITTED if terminated else Ended.STEP_LIMIT
            break
        context_ids = chat.message_ids(info["messages"][0])
    return Trajectory(task_id, info["difficulty"], tuple(steps), ended, info["outcome"])

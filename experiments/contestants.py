"""From what a user names on the command line to a policy that attempts tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from agents import checkpoint, pretrained
from agents.chat import Chat
from agents.conversation import Begin, endpoint, scripted
from agents.policies.base import Policy, Sampling
from agents.policies.endpoint import Endpoint
from agents.policies.samplers import SAMPLERS
from agents.policies.scripted import SCRIPTS
from experiments.config import Config, read_config
from experiments.players import ModelPlayer, TextPlayer
from experiments.tasks import make_env
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.registry import lookup
from text2sql_gym.types import Task

_TURNS, _CONTEXT, _NEW_TOKENS = 7, 4_096, 512


@dataclass(frozen=True)
class Setting:
    """What a contestant is built from; `experiments.evaluate.Config` describes the fields."""

    policy: str
    matcher: str = "strict"
    max_turns: int = 0
    context: int = 0
    max_new_tokens: int = 0
    rows: int = 32
    device: str = ""
    model_name: str = ""
    key_variable: str = "OPENAI_API_KEY"
    workers: int = 8
    protocol: str = "finestep"
    sampler: str = "transformers"


def contestant(setting: Setting, tasks: Sequence[Task]) -> ModelPlayer | TextPlayer:
    """Build the policy that is named, ready to attempt `tasks`.

    The folder of a training run gives its last whole checkpoint, asked in the form in which it
    was trained. Everything else gets the full prompt of the protocol. Raises ValueError, OSError
    or `Text2SQLError` for what is not there.
    """
    text = _speaker(setting)
    if text is not None:
        return TextPlayer(_full(setting, tasks), text, setting.workers)
    run = run_of(setting.policy)
    if run is not None:
        return _of_run(setting, tasks, run)
    return _model(setting, setting.policy, _full(setting, tasks), _CONTEXT, _NEW_TOKENS)


def run_of(policy: str) -> Config | None:
    """The configuration of a training run, where its folder is what is named."""
    folder = Path(policy)
    if not ((folder / "config.json").is_file() and (folder / "checkpoints").is_dir()):
        return None
    return read_config(Config(resume=folder))


def _speaker(setting: Setting) -> Begin | None:
    """The policy as text, where it is a script or an endpoint."""
    kind, _, name = setting.policy.partition(":")
    if kind == "script":
        return scripted(lookup(SCRIPTS, name, "script"))
    if kind not in ("http", "https"):
        return None
    if not setting.model_name:
        raise ValueError("--model-name: an endpoint needs the name it knows the model by")
    key = os.environ.get(setting.key_variable, "")
    tokens = setting.max_new_tokens or _NEW_TOKENS
    return endpoint(Endpoint(setting.policy, setting.model_name, key, tokens))


def _of_run(setting: Setting, tasks: Sequence[Task], config: Config) -> ModelPlayer:
    newest = checkpoint.latest(config.output / "checkpoints")
    if newest is None:
        raise ValueError(f"{config.output}: expected a whole checkpoint, found none")

    def make() -> Text2SQLEnv:
        made = make_env(config, tasks)
        return Text2SQLEnv(
            tasks=tasks, protocol=made.protocol, matcher=setting.matcher, rewards=made.scheme,
            max_turns=setting.max_turns or made.max_turns, limits=made.limits,
        )

    return _model(setting, str(newest), make, config.context, config.max_new_tokens)


def _model(
    setting: Setting,
    source: str,
    make: Callable[[], Text2SQLEnv],
    context: int,
    max_new_tokens: int,
) -> ModelPlayer:
    """Load a causal language model with its chat template, in bfloat16 on a GPU."""
    device = pretrained.place(setting.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    tokenizer, model = pretrained.load(source, device, dtype)
    chat = Chat(tokenizer)
    longest = int(getattr(model.config, "max_position_embeddings", _CONTEXT))
    context = setting.context or min(context, longest)
    tokens = setting.max_new_tokens or max_new_tokens

    sampler = SAMPLERS[setting.sampler](model, chat, setting.rows, context, None)

    def policy_at(temperature: float) -> Policy:
        return sampler.policy(Sampling(tokens, temperature))

    room, rows = context - tokens, setting.rows
    return ModelPlayer(make, chat, policy_at, room=room, rows=rows, on_close=sampler.close)


def _full(setting: Setting, tasks: Sequence[Task]) -> Callable[[], Text2SQLEnv]:
    """Environments whose prompt has the instructions and the schema as DDL."""
    return lambda: Text2SQLEnv(
        tasks=tasks,
        protocol=setting.protocol,
        matcher=setting.matcher,
        max_turns=setting.max_turns or _TURNS,
    )

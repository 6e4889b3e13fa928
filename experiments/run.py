"""A run folder: where a training run keeps everything it needs to go on after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from agents import checkpoint, pretrained
from agents.chat import Chat
from agents.credit import Estimator
from agents.demonstrations import demonstrate, texts
from agents.learned.gold import GOLD, GoldSignals
from agents.learned.language import EpisodeContinuations, LanguageSignals
from agents.learned.rollouts import collect_for
from agents.learned.signals import needs_of
from agents.loggers import MetricsLogger, open_loggers
from agents.metrics import MetricsFile
from agents.policies.base import Policy, Sampler, Sampling
from agents.policies.samplers import SAMPLERS
from agents.policies.scripted import Analyst, Script
from agents.reference import Penalty, adapter_off, frozen
from agents.refill import Filled, refill
from agents.rollout import Collector
from agents.tiny import SQL_SCAFFOLD, tiny_qwen3, train_tokenizer
from agents.stopwatch import Stopwatch
from agents.types import Group, Trajectory
from agents.warmstart import epochs
from experiments.config import Config
from experiments.record import machine, revision, write_atomically
from experiments.tasks import load_split, make_env
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols import PROTOCOLS
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.types import Task

WARM_START = "warm_start"
"""the folder of a run that keeps the model its warm start ended with"""

_TOKENIZER_EPISODES = 800


class Resumable(Protocol):
    """What learns in a phase: an optimiser, or a trainer with one."""

    def state_dict(self) -> dict[str, Any]:
        """Everything besides the weights of the model."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""


class Run:
    """Model, tasks and progress of one run. Use `Run.open`."""

    def __init__(
        self, config: Config, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
    ) -> None:
        self.config, self.folder = config, config.output
        if config.adapter is not None and not pretrained.has_adapter(model):
            config.adapter.add_to(model, config.seed)
        if config.checkpointing:
            pretrained.checkpoint_activations(model)
        self.tokenizer, self.model, self.chat = tokenizer, model, Chat(tokenizer)
        self.metrics = MetricsFile(self.folder / "metrics.jsonl")
        self.phase, self.done = "warm_start", 0
        self.let_through: Callable[[], None] = lambda: None
        """called where the run may be interrupted: see `experiments.interrupts.held_back`"""
        self.times: dict[str, float] = {}
        """where the time of the last `collect` went, as metrics"""
        self._learner: Resumable | None = None
        self._learnt: dict[str, Any] | None = None
        self._lines = 0

    @classmethod
    def open(cls, config: Config) -> Run:
        """Begin a run, or go on with the newest whole checkpoint of the one being resumed.

        Raises SystemExit when the folder holds another run already.
        """
        if config.threads:
            torch.set_num_threads(config.threads)
        folder = config.output
        if (folder / "config.json").exists() and config.resume is None:
            raise SystemExit(f"{folder} holds a run; go on with --resume {folder}, or remove it")
        newest = checkpoint.latest(folder / "checkpoints")
        if newest is None and any(folder.glob("checkpoints/step-*")):
            raise SystemExit(f"no checkpoint in {folder} is whole; remove it to begin anew")
        if newest is None:
            run = cls._new(config)
        else:
            run = cls(config, *_load(config, newest))
            run._restore(checkpoint.read_state(newest))
        run.metrics.keep(run._lines)
        return run

    @classmethod
    def _new(cls, config: Config) -> Run:
        if config.warm_start is not None:
            run = cls(config, *_load(config, _end_of_warm_start(config.warm_start)))
            run.phase = "train"
        elif config.model:
            run = cls(config, *_load(config, config.model))
        else:
            run = cls(config, *cls._from_nothing(config))
        if config.model:
            run.chat.check(PROTOCOLS[config.protocol]().tool_schemas)
        # last, so that a run that could not begin leaves nothing in the way of the next try
        config.output.mkdir(parents=True, exist_ok=True)
        record = {"config": config.as_dict(), "revision": revision(), "machine": machine()}
        write_atomically(config.output / "config.json", json.dumps(record, indent=1))
        return run

    @staticmethod
    def _from_nothing(config: Config) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
        tasks = load_split(config, 0)
        with make_env(config, tasks) as env:
            seen = _shuffled(tasks, config.seed)[:_TOKENIZER_EPISODES]
            corpus = texts(env, Analyst(propose=config.propose), seen, config.seed)
        tokenizer = train_tokenizer(
            corpus, config.vocabulary, (*FineStep.scaffold, *SQL_SCAFFOLD)
        )
        return tokenizer, _model(config, tokenizer)

    def _restore(self, state: dict[str, Any]) -> None:
        self.phase, self.done, self._lines = state["phase"], state["done"], state["lines"]
        self._learnt = state["learner"]

    @cached_property
    def train_tasks(self) -> tuple[str, ...]:
        """Ids of the training tasks whose prompt leaves room for an episode."""
        found = self._fitting(self._train_env, load_split(self.config, 0))
        if not found:
            raise SystemExit(f"no prompt fits in --context {self.config.context} tokens")
        return found

    @cached_property
    def _train_env(self) -> Text2SQLEnv:
        return make_env(self.config, load_split(self.config, 0))

    @cached_property
    def _collector(self) -> Collector:
        tasks, flags = load_split(self.config, 0), self.config
        make = partial(make_env, flags, tasks)
        overlap = flags.overlaps(self.model.device)
        return Collector(make, self.chat, rows=flags.rows, overlap=overlap)

    def _fitting(self, env: Text2SQLEnv, tasks: Sequence[Task]) -> tuple[str, ...]:
        room = self.config.context - self.config.max_new_tokens
        return tuple(
            task.task_id for task in tasks if self.prompt_tokens(env, task.task_id) < room
        )

    def prompt_tokens(self, env: Text2SQLEnv, task_id: str) -> int:
        """Length of a task's prompt."""
        _, info = env.reset(options={"task_id": task_id})
        return len(self.chat.prompt_ids(info["messages"], info["tool_schemas"]))

    def demonstrations(self, script: Script) -> list[Trajectory]:
        """Scripted episodes over the training tasks; the same ones every time."""
        count, tasks = self.config.demonstrations, self.train_tasks
        order = epochs(len(tasks), self.config.seed, 0)
        ids = [tasks[next(order)] for _ in range(count)]
        bar = tqdm(total=count, desc="demonstrations", unit="episode")
        with bar:

            def on_done() -> None:
                bar.update()
                self.let_through()

            made = demonstrate(self._train_env, self.chat, script, ids, self.config.seed, on_done)
        fits = [attempt for attempt in made if attempt.tokens <= self.config.context]
        if not fits:
            raise SystemExit(f"no demonstration fits in --context {self.config.context} tokens")
        return fits

    def collect(self, update: int) -> Filled:
        """Sample the groups of one update; a function of the weights and the update's number."""
        config, needs = self.config, getattr(self.config.build_estimator(), "needs", ())
        self._collector.watch = Stopwatch()
        filled = refill(
            lambda round, wanted: self._round(update, round, wanted),
            config.tasks,
            config.rounds,
            process="process" in needs,
        )
        self.times = self._collector.watch.metrics()
        return filled

    def _round(self, update: int, round: int, wanted: int) -> list[Group]:
        """Sample groups at tasks of their own; every round has its own order of the tasks."""
        config, tasks = self.config, self.train_tasks
        order = epochs(len(tasks), config.seed + 1 + (round << 32), update * config.tasks)
        ids = [tasks[next(order)] for _ in range(wanted)]
        seed = (config.seed << 20) + update
        if round:
            seed = int(np.random.SeedSequence((config.seed, update, round)).generate_state(1)[0])
        return collect_for(
            getattr(config.build_estimator(), "needs", ()),
            self._collector,
            self.policy,
            config.temperature,
            ids,
            config.group_size,
            seed,
            self.let_through,
        )

    def policy(self, temperature: float) -> Policy:
        """The model as it is now, sampling at a temperature."""
        return self._sampler.policy(Sampling(self.config.max_new_tokens, temperature))

    @cached_property
    def _sampler(self) -> Sampler:
        config, make = self.config, SAMPLERS[self.config.sampler]
        return make(self.model, self.chat, config.rows, config.context, config.sampling_dtype)

    def penalty(self) -> Penalty | None:
        """What keeps the policy near the one that the updates began with, if anything does.

        With an adapter that is the model under it, as it was before a warm start.
        """
        config = self.config
        if not config.kl:
            return None
        if pretrained.has_adapter(self.model):
            return Penalty(adapter_off(self.model), config.kl, config.kl_estimator)
        begun = config.warm_start if config.warm_start is not None else self.folder
        _, model = _load(config, _end_of_warm_start(begun))
        return Penalty(frozen(model), config.kl, config.kl_estimator)

    def signals(self, estimator: Estimator) -> LanguageSignals:
        """What gives an estimator the signals that rollouts alone do not, if it asks for any."""
        config = self.config
        continuations = EpisodeContinuations(
            self._collector, lambda: self.policy(config.temperature), config.seed
        )
        golds = None
        if needs := GOLD & set(needs_of(estimator)):
            golds = GoldSignals(
                needs, self.model, self.chat, self._train_env,
                schema_mode=config.schema_mode, token_budget=config.token_budget,
            )
        return LanguageSignals.for_estimator(
            estimator,
            self.model,
            continuations,
            config.fitting,
            by_token=config.unit == "token",
            golds=golds,
            rollouts=config.rollouts,
            best_of=config.best_of,
        )

    def begin(self, learner: Resumable) -> None:
        """Register what learns in this phase; give it back its state when the phase goes on."""
        if self._learnt is not None:
            learner.load_state_dict(self._learnt)
        self._learner, self._learnt = learner, None

    def log(self, record: Mapping[str, Any], every: int = 1) -> None:
        """Append a record of this phase, or one of `every`."""
        if self.done % every == 0:
            self.metrics.append({"phase": self.phase, **record})
            for logger in self._loggers:
                logger.log(self.phase, self.done, record)
            self._lines += 1

    def advance(self, done: int) -> None:
        """Count one step or update as done; save a checkpoint when it is time."""
        self.done = done
        every = self.config.save_every * (100 if self.phase == "warm_start" else 1)
        if done % every == 0:
            self.save()

    def finish(self, next_phase: str) -> None:
        """End a phase and save; what the warm start led to is kept for other runs."""
        if next_phase == "train":
            checkpoint.save(self.folder / WARM_START, 0, self.model, self.tokenizer, {})
        self.phase, self.done, self._learner, self._learnt = next_phase, 0, None, None
        self.save()

    def save(self) -> Path:
        """Write a checkpoint of everything that a resumed run needs."""
        place = {"warm_start": 0, "train": 1, "done": 2}[self.phase] * 1_000_000 + self.done
        # before `begin` it is still the state that was read
        learnt = self._learner.state_dict() if self._learner else self._learnt
        state = {"phase": self.phase, "done": self.done, "lines": self._lines, "learner": learnt}
        folder = self.folder / "checkpoints"
        return checkpoint.save(folder, place, self.model, self.tokenizer, state)

    def write(self, file: Path, text: str) -> None:
        """Write a file of the run folder, whole or not at all."""
        write_atomically(file, text)

    @cached_property
    def _loggers(self) -> list[MetricsLogger]:
        return open_loggers(self.config.logger_names, self.folder, self.config.as_dict())

    def close(self) -> None:
        """Close the environments and loggers that were opened."""
        for logger in self.__dict__.get("_loggers", []):
            logger.close()
        for name in ("_sampler", "_collector"):
            if name in self.__dict__:
                self.__dict__[name].close()
        if "_train_env" in self.__dict__:
            self._train_env.close()


def _model(config: Config, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    model = tiny_qwen3(
        tokenizer,
        hidden=config.hidden,
        layers=config.layers,
        heads=config.heads,
        context=config.context,
        seed=config.seed,
    )
    return model.to(pretrained.place(config.device)).eval()


def _load(config: Config, source: str | Path) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """Tokenizer and model of a checkpoint, or those that a run begins with."""
    device = pretrained.place(config.device)
    dtype = pretrained.weights_dtype(config.dtype, device) if config.model else torch.float32
    return pretrained.load(source, device, dtype)


def _end_of_warm_start(run: Path) -> Path:
    found = checkpoint.latest(run / WARM_START)
    if found is None:
        raise SystemExit(
            f"--warm-start: expected a run whose warm start is finished, "
            f"but there is no whole checkpoint in {run / WARM_START}"
        )
    return found


def _shuffled(tasks: Sequence[Task], seed: int) -> list[str]:
    order = epochs(len(tasks), seed, 0)
    return [tasks[next(order)].task_id for _ in tasks]

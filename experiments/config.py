"""What one training run is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from agents import precision
from agents.credit import ESTIMATORS, Estimator, FineStep
from agents.learned import Fitting
from agents.learned.signals import needs_of
from agents.loggers import LOGGERS
from agents.losses import CORRECTIONS, KL, Bounds, Objective
from agents.overlong import Overlong
from agents.policies.samplers import SAMPLERS
from agents.presets import PRESETS
from agents.pretrained import Lora
from agents.trainer import Optimization
from agents.warmstart import Imitation
from experiments.flags import one_of, option
from experiments.methods import check_needs, of_preset, read_options
from text2sql_gym.datasets import DATASETS
from text2sql_gym.protocols import PROTOCOLS
from text2sql_gym.registry import lookup
from text2sql_gym.rewards import SCHEMES
from text2sql_gym.rewards.schema_linking import MODES

PRETRAINED: dict[str, Any] = {
    "warm_steps": 0,
    "warm_rate": 1e-5,
    "context": 8_192,
    "max_new_tokens": 1_024,
    "shown_rows": 10,
    "rows": 32,
    "rate": 1e-6,
    "minibatches": 1,
    "token_budget": 16_384,
}
"""Defaults in place of those of `Config` where --model is given; with --lora, `LORA_RATE` too.

The model knows SQL and is only steered: GRPO's usual 1e-6 (verl, TRL), a long context, one step
of the optimiser per update.
"""

LORA_RATE = 2e-5
"""Low-rank factors take a learning rate some ten times that of the weights themselves."""


@dataclass(frozen=True)
class Config:
    """Train a text-to-SQL agent by step-level credit, and compare it with its warm start."""

    output: Path = option(Path("runs/finestep"), "folder of the run")
    resume: Path | None = option(None, "continue the run in this folder; other flags are ignored")
    seed: int = option(0, "seed of everything random")
    threads: int = option(0, "threads of torch; 0 leaves the choice to torch")

    dataset: str = option("synthetic", "a name in DATASETS")
    data_dir: Path | None = option(None, "folder of the dataset; not needed for synthetic")
    database: Path | None = option(
        None, "an SQLite file of your own: short for --dataset own and --data-dir with it"
    )
    databases: int = option(2_000, "synthetic: databases to train on")
    unseen_databases: int = option(60, "synthetic: more databases, to evaluate on")
    questions: int = option(12, "synthetic: questions per database")
    copies: int = option(0, "perturbed copies of a database an answer must be right on")
    templates: str = option(
        "list_column,count_rows,maximum,minimum,average,filter_value,filter_above,filter_below,"
        "count_value,of_name" + 6 * ",lookup_list,lookup_count",
        "synthetic: kinds of questions, as often as named; the default is what a small model can "
        "learn, '' is all",
    )
    generated: int = option(
        0, "spider, bird, records: questions made about each training database, beside its own"
    )
    grades: str = option("", "difficulties to keep, as in easy,medium; default: all")
    eval_split: str = option("", "split of unseen databases; default: the dataset's own")
    eval_tasks: int = option(200, "tasks evaluated before and after")
    eval_samples: int = option(4, "attempts per task for pass@k and majority vote; 0: none")
    transcripts: int = option(5, "updates from one whose attempts are kept to the next; 0: none")

    model: str = option(
        "", "begin with this pretrained model: a folder or a hub id, with its chat template; "
        "see PRETRAINED for the defaults that come with it"
    )
    protocol: str = option("finestep", "with --model: a name in PROTOCOLS; chat has native tools")
    lora: int = option(0, "with --model: rank of a LoRA adapter to train instead; 0: all weights")
    lora_alpha: float = option(0.0, "LoRA: updates are scaled by this / rank; 0: twice the rank")
    dtype: str = option("auto", "with --model: weights in fp32, bf16, or auto, bf16 on a GPU")
    checkpointing: bool = option(False, "compute activations again in the backward pass")
    device: str = option("", "cpu or cuda; default: cuda where there is one")
    rows: int = option(128, "episodes in flight; each reserves keys and values of a whole context")
    sampler: str = option("transformers", "engine of sampling, in SAMPLERS; vllm is an extra")
    overlap: str = option("auto", "sample while statements run: on, off, or auto (with a GPU)")
    sampler_dtype: str = option("auto", "sample in fp32 or bf16; auto: as the weights are")

    hidden: int = option(128, "width of the model")
    layers: int = option(4, "layers of the model")
    heads: int = option(4, "attention heads")
    vocabulary: int = option(2_500, "tokens of the trained tokenizer")
    context: int = option(512, "tokens of an episode")
    max_new_tokens: int = option(80, "tokens of one turn")
    max_turns: int = option(7, "turns of an episode, the submission included")
    shown_rows: int = option(6, "rows of a result shown to the policy")

    warm_start: Path | None = option(
        None, "begin where the warm start of this other run ended, in place of one of its own"
    )
    demonstrations: int = option(10_000, "scripted episodes to imitate")
    haste: float = option(0.4, "share of them that leave needed look-ups out")
    extra: float = option(0.6, "share of their lists with a column that was not asked for")
    propose: float = option(
        0.0, "share of them that propose a schema; above 0 a model made from nothing may do so too"
    )
    warm_steps: int = option(1_300, "optimiser steps of the warm start")
    warm_batch: int = option(16, "demonstrations per step")
    warm_rate: float = option(8e-3, "peak learning rate of the warm start")

    preset: str = option(
        "", "a method in agents.presets.PRESETS: its estimator, loss, --rounds, --overlong and "
        "--kl become the defaults"
    )
    rewards: str = option("finestep_values", "what the environment pays: a name in SCHEMES")
    estimator: str = option("finestep", "a name in agents.credit.ESTIMATORS")
    estimator_options: str = option("", "its other hyperparameters, as in scale=none,epsilon=1e-4")
    norm: str = option("sep_pooled", "finestep: sep_pooled, joint, separate or index")
    lam: float = option(0.5, "finestep: weight of the outcome")
    gamma: float = option(0.9, "finestep: discount per step")
    alpha: float = option(0.3, "finestep: strength of the smoothing")
    unit: str = option("turn", "gae, reinforce_pp: what time is counted in, turn or token")
    rollouts: int = option(8, "pav, reward_sql: episodes played to their end from every state")
    best_of: int = option(4, "pav: the prover is the best of so many of them")
    schema_mode: str = option("total_match", "dual_track: how proposed schemas are scored")
    signal_steps: int = option(60, "gae, spa, reward_sql: steps of their model per update")
    signal_rate: float = option(1e-3, "their learning rate")
    updates: int = option(40, "updates of the policy")
    tasks: int = option(16, "tasks per update")
    group_size: int = option(8, "attempts per task")
    rounds: int = option(
        1, "sample at most this often until all groups of the batch teach; 1: take it as it is"
    )
    rate: float = option(5e-4, "learning rate of the updates")
    optimizer: str = option("adamw", "of the updates: a name in agents.optim.OPTIMIZERS")
    precision: str = option("auto", "of training: fp32, bf16, or auto, bf16 where it is native")
    minibatches: int = option(2, "optimiser steps per update")
    rate_warmup: int = option(5, "optimiser steps until the learning rate is reached")
    token_budget: int = option(2_048, "tokens of one pass; gradients are accumulated")
    kl: float = option(0.0, "weight of the divergence from the policy that updates began with")
    kl_estimator: str = option("k3", "of that divergence: a name in agents.losses.KL")
    overlong: str = option("keep", "attempts that run out of tokens: keep, mask or penalty")
    overlong_cache: int = option(
        0, "penalty: the last tokens of the context, which cost reward; 0: a fifth of it"
    )
    ratio: str = option("token", "of probabilities: a name in agents.losses.RATIOS")
    surrogate: str = option("ppo", "what is made of it: a name in agents.losses.SURROGATES")
    reduction: str = option("token_mean", "to one number: a name in agents.losses.REDUCTIONS")
    clip_low: float = option(0.2, "the ratio is clipped to 1 - clip_low ...")
    clip_high: float = option(0.28, "... and 1 + clip_high")
    dual_clip: float = option(0.0, "a bad step's loss is at most this times its credit; 0: any")
    correction: str = option(
        "none", "of the mismatch of sampler and trainer: a name in agents.losses.CORRECTIONS"
    )
    temperature: float = option(1.0, "temperature of sampling")

    loggers: str = option("", "besides metrics.jsonl, as in tensorboard,wandb,trackio")
    save_every: int = option(25, "updates (and hundreds of warm steps) between checkpoints")

    def __post_init__(self) -> None:
        lookup(DATASETS, self.dataset, "dataset")
        lookup(ESTIMATORS, self.estimator, "estimator")
        lookup(SCHEMES, self.rewards, "reward scheme")
        for name in self.logger_names:
            lookup(LOGGERS, name, "logger")
        none_or_more = ("eval_tasks", "eval_samples", "transcripts", "generated")
        for name in ("warm_steps", "updates", "demonstrations", *none_or_more):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("tasks", "group_size", "rounds", "minibatches", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.generated and self.dataset in ("synthetic", "own"):
            raise ValueError(f"generated: the questions of {self.dataset} are all made anyway")
        lookup(CORRECTIONS, self.correction, "correction")
        if self.preset:
            lookup(PRESETS, self.preset, "preset")
        _ = self.imitation, self.optimization, self.objective
        self._check_model()
        self._check_credit()

    def _check_credit(self) -> None:
        """Refuses an estimator that cannot be used now, not after the warm start."""
        estimator = self.build_estimator()
        needs = frozenset(needs_of(estimator))
        proposals = self.propose > 0 or "propose_schema" in PROTOCOLS[self.protocol]().tools
        check_needs(self.estimator, needs, self.group_size, proposals=proposals)
        lookup(MODES, self.schema_mode, "schema score")
        one_of("unit", self.unit, "turn", "token")
        by_time = getattr(estimator, "granularity", "") == "step" and needs <= {"outcome", "values"}
        if self.unit == "token" and not by_time:
            raise ValueError(f"unit: {self.estimator} does not count time in tokens")
        if not 1 <= self.best_of <= self.rollouts <= self.rows:
            raise ValueError("expected 1 <= best_of <= rollouts <= rows")
        _ = self.fitting

    @property
    def fitting(self) -> Fitting:
        """How the models of learned signals are trained."""
        return Fitting(learning_rate=self.signal_rate, steps=self.signal_steps, seed=self.seed)

    def _check_model(self) -> None:
        """Raises ValueError or `UnknownName` for what does not go together."""
        lookup(PROTOCOLS, self.protocol, "protocol")
        lookup(KL, self.kl_estimator, "estimator of the divergence")
        lookup(SAMPLERS, self.sampler, "sampler")
        for name in (self.dtype, self.sampler_dtype):
            precision.resolve(name, torch.device("cpu"))
        _ = self.adapter, self.overlong_rule
        if not 0 <= self.propose <= (0 if self.model else 1):
            raise ValueError("propose: expected a share, and 0 with --model")
        if not self.model and (self.protocol != "finestep" or self.lora):
            raise ValueError("protocol and lora: they need a pretrained --model")
        if self.warm_steps and self.protocol not in ("finestep", "chat"):
            raise ValueError(f"warm_steps: no script demonstrates {self.protocol}; expected 0")
        if self.rows < max(self.group_size, self.eval_samples):
            raise ValueError(f"rows must be at least group_size and eval_samples, got {self.rows}")
        one_of("overlap", self.overlap, "auto", "on", "off")
        if self.kl < 0 or self.rate_warmup < 0 or self.token_budget < 1:
            raise ValueError("expected kl >= 0, rate_warmup >= 0 and token_budget >= 1")

    def overlaps(self, device: torch.device) -> bool:
        """Whether rollouts sample while statements run; by itself not on a CPU, to repeat runs."""
        return device.type == "cuda" if self.overlap == "auto" else self.overlap == "on"

    @property
    def adapter(self) -> Lora | None:
        """The LoRA adapter to train, if any."""
        return Lora(self.lora, self.lora_alpha or 2.0 * self.lora) if self.lora else None

    @property
    def sampling_dtype(self) -> torch.dtype | None:
        """The dtype that is sampled in; None: that of the weights."""
        return {"fp32": torch.float32, "bf16": torch.bfloat16}.get(self.sampler_dtype)

    @property
    def overlong_rule(self) -> Overlong:
        """What is done with attempts that run out of tokens."""
        return Overlong(self.overlong, self.context, self.overlong_cache or self.context // 5)

    @property
    def logger_names(self) -> tuple[str, ...]:
        """Where metrics are shown beside metrics.jsonl."""
        return tuple(filter(None, self.loggers.split(",")))

    @property
    def imitation(self) -> Imitation:
        """How the warm start is learnt."""
        return Imitation(
            steps=self.warm_steps,
            batch_size=self.warm_batch,
            learning_rate=self.warm_rate,
            optimizer="adamw" if self.model else "muon",
            precision=self.precision,
        )

    @property
    def objective(self) -> Objective:
        """The loss of the updates."""
        return Objective(
            self.ratio,
            self.surrogate,
            self.reduction,
            Bounds(self.clip_low, self.clip_high, self.dual_clip or None),
            correction=CORRECTIONS[self.correction],
            length=float(self.context),
        )

    @property
    def optimization(self) -> Optimization:
        """How updates change the weights."""
        return Optimization(
            self.rate,
            minibatches=self.minibatches,
            warmup=self.rate_warmup,
            token_budget=self.token_budget,
            optimizer=self.optimizer,
            precision=self.precision,
        )

    def build_estimator(self) -> Estimator:
        """The credit estimator with its hyperparameters."""
        options = read_options(self.estimator_options)
        if self.estimator == "finestep":
            fields = {name: getattr(self, name) for name in ("norm", "lam", "gamma", "alpha")}
            return FineStep(**fields | options)
        try:
            return ESTIMATORS[self.estimator](**options)
        except TypeError as error:
            raise ValueError(f"estimator_options: {error}") from error

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(self).items()
        }


def defaults_for(argv: Sequence[str] | None) -> dict[str, Any]:
    """The defaults that depend on other flags; `argv` is what `parse` is given."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model", default="")
    parser.add_argument("--lora", default="0")
    parser.add_argument("--preset", default="")
    known, _ = parser.parse_known_args(argv)
    defaults = of_preset(known.preset) if known.preset in PRESETS else {}
    if known.model:
        defaults |= PRETRAINED | ({} if known.lora == "0" else {"rate": LORA_RATE})
    return defaults


def read_config(config: Config) -> Config:
    """`config` with its shorthands written out, or the one stored in the run that it resumes."""
    if config.resume is None:
        if config.database is None:
            return config
        return replace(config, dataset="own", data_dir=config.database, database=None)
    file = config.resume / "config.json"
    if not file.is_file():
        raise SystemExit(f"--resume: expected {file}, which is not there")
    stored = json.loads(file.read_text(encoding="utf-8"))["config"]
    if differing := sorted(set(stored) ^ {item.name for item in fields(Config)}):
        raise SystemExit(
            f"--resume: {file} was written by another version: {', '.join(differing)} "
            "is in one of them only"
        )
    paths = {"output", "resume", "data_dir", "warm_start"}
    values: dict[str, Any] = {
        item.name: Path(stored[item.name])
        if item.name in paths and stored[item.name] is not None
        else stored[item.name]
        for item in fields(Config)
    }
    return replace(Config(**values), output=config.resume, resume=config.resume)

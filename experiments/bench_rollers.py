"""What `experiments.bench_rollout` compares, each in a process of its own.

    python -m experiments.bench_rollers NAME WORKLOAD FOLDER

collects the attempts of one step, without training, for every line it reads, and answers each as
`experiments.bench_paired` says. Started by `experiments.bench_rollout`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import experiments.before_torch  # noqa: F401

import torch
from torch import nn

from agents import pretrained
from agents.chat import Chat
from agents.policies.base import Policy, Sampler, Sampling
from agents.policies.samplers import SAMPLERS
from agents.rollout import Collector
from agents.stopwatch import Stopwatch
from agents.types import Completion, Group
from experiments.bench_paired import serve
from experiments.bench_workload import WORKLOADS, Workload, make_env, tasks_of


@dataclass(frozen=True)
class Way:
    """How this package samples: by which engine, in which dtype (None: the weights' own).

    With `lock_step` every turn waits for the slowest; with `overlap` none waits for a statement.
    """

    engine: str = "transformers"
    dtype: torch.dtype | None = None
    lock_step: bool = False
    overlap: bool = False

    @property
    def plain(self) -> bool:
        """Whether episodes are run as by default."""
        return not (self.lock_step or self.overlap)


WAYS = {
    "ours": Way(),
    "ours, sampling in bf16": Way(dtype=torch.bfloat16),
    "ours, vLLM in bf16": Way("vllm", torch.bfloat16),
    "ours, vLLM, in lock step": Way("vllm", torch.bfloat16, lock_step=True),
    "ours, vLLM, overlap": Way("vllm", torch.bfloat16, overlap=True),
}


class LockStep:
    """A policy whose turns are complete when all of them are: each waits for the slowest."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self._asked = policy, 0

    def open(self, prompt_ids: Sequence[int], seeds: Sequence[int]) -> list[int]:
        """As the policy does."""
        self._asked += len(seeds)
        return self._policy.open(prompt_ids, seeds)

    def extend(self, handle: int, token_ids: Sequence[int]) -> None:
        """As the policy does."""
        self._asked += 1
        self._policy.extend(handle, token_ids)

    def close(self, handle: int) -> None:
        """As the policy does."""
        self._policy.close(handle)

    def advance(self) -> list[tuple[int, Completion]]:
        """Generate until all turns that were asked for are complete."""
        done: list[tuple[int, Completion]] = []
        while len(done) < self._asked:
            done += self._policy.advance()
        self._asked = 0
        return done


class Positions:
    """Counts the positions that a model computes, idle and padded ones too."""

    def __init__(self) -> None:
        self.computed = 0

    def watch(self, embedding: nn.Module) -> None:
        """Count what is looked up here."""
        embedding.register_forward_pre_hook(self._count)

    def _count(self, module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        self.computed += arguments[0].numel()


def needed(groups: Iterable[Group]) -> int:
    """Positions that have to be computed: prompts once a group, of attempts all but the last."""
    total = 0
    for group in groups:
        prompt = len(group.attempts[0].steps[0].context_ids)
        lengths = (
            sum(len(step.context_ids) + len(step.completion.token_ids) for step in attempt.steps)
            for attempt in group.attempts
        )
        total += prompt + sum(length - prompt - 1 for length in lengths)
    return total


class Roller:
    """Collects the attempts of one step after another."""

    def __init__(self, way: Way, workload: Workload, folder: Path) -> None:
        tokenizer, self.model = pretrained.load(folder, torch.device("cpu"), torch.float32)
        self._way, self._workload, chat = way, workload, Chat(tokenizer)
        context = _longest_prompt(workload, chat) + workload.tokens + 1
        self._sampler: Sampler = SAMPLERS[way.engine](
            self.model, chat, workload.attempts, context, way.dtype
        )
        self._positions = Positions()
        self._positions.watch(_embedding(self._sampler))
        make = partial(make_env, tasks_of(64), workload)
        self._collector = Collector(make, chat, rows=workload.attempts, overlap=way.overlap)
        self._places = count(step=workload.prompts)

    def roll(self) -> tuple[list[Group], dict[str, float]]:
        """The groups of the next step, and what they cost."""
        place, tasks = next(self._places), tasks_of(64)
        ids = [tasks[(place + n) % len(tasks)].task_id for n in range(self._workload.prompts)]
        begin, before = perf_counter(), self._positions.computed
        self._collector.watch = Stopwatch()
        policy: Policy = self._sampler.policy(Sampling(self._workload.tokens))
        synced = perf_counter() - begin
        policy = LockStep(policy) if self._way.lock_step else policy
        groups = self._collector.collect(policy, ids, self._workload.group, place)
        turns = [step.completion for g in groups for a in g.attempts for step in a.steps]
        return groups, {
            "tokens": sum(len(turn.token_ids) for turn in turns),
            "heavy": sum(self._workload.runs_heavy(turn.text) for turn in turns),
            "computed": self._positions.computed - before,
            "needed": needed(groups),
            "seconds_weights": synced,
            **self._collector.watch.metrics(),
        }


def _longest_prompt(workload: Workload, chat: Chat) -> int:
    lengths = []
    with make_env(tasks_of(64), workload) as env:
        for task in tasks_of(64):
            _, info = env.reset(options={"task_id": task.task_id})
            lengths.append(len(chat.prompt_ids(info["messages"])))
    return max(lengths)


def _embedding(sampler: Any) -> Any:
    """What looks up the tokens of whatever model the sampler computes."""
    if hasattr(sampler, "_sampled"):
        return sampler._sampled.get_input_embeddings()
    (model,) = sampler._engine._engine.collective_rpc(lambda worker: worker.get_model())
    return model.model.embed_tokens


def main() -> None:
    """Build the contestant that is named, and serve."""
    name, workload, folder = sys.argv[1], WORKLOADS[sys.argv[2]], Path(sys.argv[3])
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if name in WAYS:
        roller = Roller(WAYS[name], workload, folder)
        step: Callable[[], dict[str, float]] = lambda: roller.roll()[1]  # noqa: E731
        serve(step)
    else:
        from experiments.bench_learners import TRL
        from experiments.bench_trl_rollout import run

        run(TRL[name], workload, folder)


if __name__ == "__main__":
    main()

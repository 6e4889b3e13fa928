"""Time the passes of an update over padded rows, packed ones, and with prompts of groups shared.

    python -m experiments.bench_prompts --size 1M --threads 2

All kinds compute the gradient of the same rows in turn, round by round; printed are medians of
seconds, and of their ratio to padded rows within a round. In the precision that the trainer
chooses; padded rows have the attention that they are trained with on a CPU. About three minutes
with --size 3M, on a machine that does nothing else.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from unittest.mock import patch

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from agents import precision
from agents.attention import NAME, attending
from agents.batch import Batch
from agents.likelihood import token_logprobs
from agents.packing import packs
from experiments.bench_paired import row
from experiments.bench_workload import SIZES, WORKLOADS, save_model
from experiments.flags import option, parse
from text2sql_gym.registry import lookup

PADDED, PACKED, SHARED = KINDS = ("padded", "packed", "packed, prompts shared")
RATIOS = (PACKED, SHARED)

LENGTHS = ((100, 64), (100, 256), (250, 120), (400, 200))
"""tokens of a prompt, and tokens after it at most; rows have between half of them and all"""


@dataclass(frozen=True)
class Config:
    """Time the passes of an update over rows of three kinds."""

    size: str = option("3M", f"of the model: {', '.join(SIZES)}")
    threads: int = option(1, "of PyTorch")
    rounds: int = option(3, "passes of each kind that are counted")
    prompts: int = option(8, "groups")
    group: int = option(8, "rows of a group")
    token_budget: int = option(2_048, "tokens of a part")
    seed: int = option(0, "of tokens and lengths")

    def __post_init__(self) -> None:
        lookup(SIZES, self.size, "size")
        counts = (self.threads, self.rounds, self.prompts, self.group, self.token_budget)
        if min(counts) < 1:
            raise ValueError(
                "threads, rounds, prompts, group and token_budget must be at least 1"
            )


def main() -> None:
    """Print one Markdown table."""
    config = parse(Config)
    torch.set_num_threads(config.threads)
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), config.size, WORKLOADS["single"])
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder)
    print(row(["tokens of a prompt", "tokens after it", *KINDS, *(f"{k}, ratio" for k in RATIOS)]))
    print("|---" * (2 + len(KINDS) + len(RATIOS)) + "|")
    with precision.training(model, "auto"):
        for prompt, rest in LENGTHS:
            batch = rows(config, prompt, rest, model.config.vocab_size)
            for kind in KINDS:
                _seconds(model, batch, config.token_budget, kind)
            times = [
                {kind: _seconds(model, batch, config.token_budget, kind) for kind in KINDS}
                for _ in range(config.rounds)
            ]
            seconds = [f"{median(time[kind] for time in times):.2f}" for kind in KINDS]
            ratios = [f"{median(t[PADDED] / t[kind] for t in times):.2f}" for kind in RATIOS]
            print(row([prompt, rest, *seconds, *ratios]), flush=True)


def rows(config: Config, prompt: int, rest: int, vocabulary: int) -> Batch:
    """Groups of rows with random tokens, of which all after the prompt are sampled."""
    draw = torch.Generator().manual_seed(config.seed)
    count = config.prompts * config.group
    group_B = torch.arange(config.prompts).repeat_interleave(config.group)
    prompts_GP = torch.randint(vocabulary, (config.prompts, prompt), generator=draw)
    rests_BS = torch.randint(vocabulary, (count, rest), generator=draw)
    ids_BT = torch.cat([prompts_GP[group_B], rests_BS], dim=1)
    lengths_B = torch.randint(rest // 2, rest + 1, (count,), generator=draw) + prompt
    places_T = torch.arange(ids_BT.shape[1])
    mask_BT = ((places_T >= prompt) & (places_T < lengths_B[:, None])).float()
    turn_BT = torch.where(mask_BT > 0, 0, -1)
    return Batch(ids_BT, mask_BT, torch.zeros_like(mask_BT), turn_BT, group_B)


def _seconds(model: PreTrainedModel, batch: Batch, budget: int, kind: str) -> float:
    """Seconds of the gradient of all rows, part by part."""
    attention = NAME if kind != PADDED else "eager"
    start = perf_counter()
    model.zero_grad()
    with (
        attending(model, attention),
        patch("agents.likelihood.packs", lambda model: kind != PADDED and packs(model)),
    ):
        for index in batch.micro_batches(budget, packed=kind != PADDED):
            part = batch.rows(index)
            group_B = part.group_B if kind == SHARED else None
            logprobs_BT, _ = token_logprobs(
                model, part.token_ids_BT, part.mask_BT, 1.0, group_B
            )
            logprobs_BT.sum().backward()  # type: ignore[no-untyped-call]
    return perf_counter() - start


if __name__ == "__main__":
    main()

"""What `experiments.bench_trainer` gives every contestant: a model, tasks, and a language for them.

The model has random weights, so its turns are random texts. That every contestant has the same
work nevertheless is seen to here: any text is a call of one of a few statements, chosen by the
text; turns end with the probability of a geometric length; rewards are drawn by the call.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from agents.tiny import train_tokenizer
from text2sql_gym.datasets import load_tasks
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.rewards.base import RewardScheme
from text2sql_gym.types import Task, ToolCall, Transition

SIZES = {"1M": (128, 4), "3M": (256, 4), "15M": (512, 4), "60M": (768, 8)}
"""Width and layers; 64 dimensions a head, three times the width in the feed-forward layers."""

_VOCABULARY = 2_500

_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% for call in message.tool_calls or [] %}{{ call.function.name }}"
    "{{ call.function.arguments }}{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True)
class Workload:
    """One training step: so many prompts, attempts at each, and turns of an attempt.

    An attempt of one turn is `tokens` long; of several turns, each is `mean` tokens long on the
    mean and the attempt has at most `tokens` after its prompt, what the tools answer included.
    One call in `heavy` runs a heavy statement; with 0 none does.
    """

    turns: int
    tokens: int
    mean: int = 0
    prompts: int = 8
    group: int = 8
    heavy: int = 0

    @property
    def attempts(self) -> int:
        """Attempts of a step."""
        return self.prompts * self.group

    def runs_heavy(self, text: str) -> bool:
        """Whether the call of this turn runs a heavy statement."""
        return bool(self.heavy) and zlib.crc32(text.encode()) // 2 % self.heavy == 0


WORKLOADS = {
    "single": Workload(turns=1, tokens=64),
    "multi": Workload(turns=4, tokens=256, mean=24),
    "uneven": Workload(turns=4, tokens=256, mean=24, heavy=16),
}

_COUNTED = 1_000_000  # rows that a heavy statement makes and counts


def heavy_statement(drawn: int) -> str:
    """One that no memory of results answers: each number makes another."""
    rows = _COUNTED + drawn % 9_973
    numbers = f"(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
    return f"WITH RECURSIVE n(i) AS {numbers} SELECT COUNT(*) FROM n"


@dataclass(frozen=True)
class AnyText(FineStep):
    """A protocol in which every text calls one of two light statements, with an own comment.

    With a workload that has them, some texts call a heavy one.
    """

    workload: Workload = WORKLOADS["single"]

    def parse(self, action: str) -> ToolCall:
        """Choose by the text."""
        drawn = zlib.crc32(action.encode())
        if self.workload.runs_heavy(action):
            return ToolCall("execute_sql", {"sql": heavy_statement(drawn)})
        statement = ("SELECT COUNT(*) FROM {}", "SELECT * FROM {} LIMIT 20")[drawn % 2]
        tables = "(SELECT name FROM sqlite_master WHERE type = 'table')"
        return ToolCall("execute_sql", {"sql": f"{statement.format(tables)} -- {drawn % 997}"})


def drawn_reward(transition: Transition) -> float:
    """A number in [0, 1) that depends on the call alone."""
    arguments = transition.call.arguments if transition.call else {}
    return zlib.crc32(str(arguments).encode()) % 1_000 / 1_000


def make_env(tasks: Sequence[Task], workload: Workload) -> Text2SQLEnv:
    """The environment that contestants of all kinds call."""
    return Text2SQLEnv(
        tasks=tasks,
        protocol=AnyText(style="compact", workload=workload),
        rewards=RewardScheme({"drawn": 1.0}, {}, own={"drawn": drawn_reward}),
        max_turns=workload.turns,
    )


@cache
def tasks_of(count: int) -> tuple[Task, ...]:
    """The first tasks of the embedded dataset, one for each of many databases."""
    by_database = {task.database_id: task for task in load_tasks("synthetic", None, "train")}
    return tuple(by_database.values())[:count]


def save_model(folder: Path, size: str, workload: Workload, seed: int = 0) -> Path:
    """Write model and tokenizer as the hub has them.

    The head is tied to the embeddings.
    """
    tasks = tasks_of(64)
    with make_env(tasks, workload) as env:
        texts = []
        for task in tasks:
            _, info = env.reset(options={"task_id": task.task_id})
            texts += [message["content"] for message in info["messages"]]
    tokenizer = train_tokenizer(texts, _VOCABULARY)
    tokenizer.chat_template = _TEMPLATE
    width, layers = SIZES[size]
    config = Qwen3Config(
        vocab_size=_VOCABULARY, hidden_size=width, intermediate_size=3 * width,
        num_hidden_layers=layers, num_attention_heads=width // 64, head_dim=64,
        num_key_value_heads=width // 64, max_position_embeddings=2_048, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        model.get_input_embeddings().weight.add_(_shared(width))
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_(0.02)  # else what the embeddings share is lost in the layers
        _end_turns(model, workload.mean)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _shared(width: int) -> float:
    """What every embedding has in every dimension.

    Less in a wide model: all logits share `width` times as much, of which bf16 leaves few digits.
    """
    return min(0.1, 51.2 / width)


def _end_turns(model: Qwen3ForCausalLM, mean: int) -> None:
    """Lengthen the end token's embedding along what all share, until turns have this mean length.

    With a mean of 0 turns never end.
    """
    weight = model.get_input_embeddings().weight
    end, width = model.config.eos_token_id, weight.shape[1]
    random_BT = torch.randint(10, _VOCABULARY, (8, 64), generator=torch.Generator().manual_seed(0))
    wanted = 1.0 / mean if mean else 1e-9
    weight[end] = _shared(width)
    for _ in range(10):
        share = float(model(random_BT).logits.softmax(-1)[..., end].mean())
        weight[end] += math.log(wanted * (1 - share) / (share * (1 - wanted))) / width

"""A tokenizer trained on the data and a small Qwen3 model from random weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

END, PAD = "<|end|>", "<|pad|>"
ROLES = ("system", "user", "assistant", "tool")

_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

# Words without a final s, that s, pairs of digits, and everything else: a name is the same tokens
# in a schema, a question and a query, in singular and plural and whatever stands before it, which
# is what makes copying it easy to learn.
_PIECES = Regex(r"[A-Za-z]+?(?=s?(?![A-Za-z]))|s(?![A-Za-z])|[0-9]{1,2}|[^A-Za-z0-9]+")

SQL_SCAFFOLD = tuple(
    "SELECT |SELECT DISTINCT |SELECT COUNT(*) FROM |SELECT * FROM | FROM | WHERE | GROUP BY "
    "| ORDER BY | HAVING | LIMIT | JOIN | ON | AND | OR | DESC| = '| <> '| = | > | < | BETWEEN "
    "|, COUNT(*)|COUNT(*)|COUNT(DISTINCT |AVG(|SUM(|MIN(|MAX(| EXCEPT SELECT | UNION SELECT "
    "| INTERSECT SELECT | IN (SELECT | NOT IN (SELECT |(SELECT | the | of the | of | with | and "
    "| is | whose | are | for | have | in | by |How many |List the |Show the |What is the "
    .split("|")
)
"""SQL and question words with the spaces around them, which make an episode a quarter shorter"""


def train_tokenizer(
    texts: Iterable[str], vocabulary: int, scaffold: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with a one-token-a-role chat template.

    `scaffold` are texts of the protocol that become one token each. Lossless on any Unicode.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(_PIECES, "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, END, *(f"<|{role}|>" for role in ROLES)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(scaffold),
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in scaffold])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        chat_template=_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def tiny_qwen3(
    tokenizer: PreTrainedTokenizerFast,
    *,
    hidden: int,
    layers: int,
    heads: int,
    context: int,
    seed: int,
) -> Qwen3ForCausalLM:
    """A Qwen3 with random weights drawn from `seed`; the global generator is left untouched."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=hidden // heads,
        max_position_embeddings=context,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config)

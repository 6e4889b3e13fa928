"""What vLLM samples, beside what the model itself says: `make test-vllm` runs these tests."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from policy_play import first_turns, play, prompt, sampled, until
from rollout_records import attempt, step
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from agents.batch import token_rows
from agents.likelihood import token_logprobs
from agents.losses import truncated_weights
from agents.policies import vllm_engine
from agents.policies.base import SamplerError, Sampling
from agents.policies.transformers import TransformersSampler
from agents.policies.vllm import VllmSampler
from agents.pretrained import Lora
from experiments.evaluate import main as evaluate
from experiments.train_finestep import main as train

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]

CONTEXT, ROWS = 128, 16


def qwen3(chat, *, seed=0, make=Qwen3ForCausalLM, config=Qwen3Config, tied=True):
    """A small model with heads of a size that vLLM has kernels for, and spread-out logits."""
    torch.manual_seed(seed)
    made = make(
        config(
            vocab_size=len(chat.tokenizer), hidden_size=64, intermediate_size=128,
            num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
            max_position_embeddings=512, tie_word_embeddings=tied, pad_token_id=0,
            bos_token_id=None, eos_token_id=chat.stop_id,
            **({"head_dim": 32} if config is Qwen3Config else {}),
        )  # fmt: skip
    ).eval()
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim == 2:
                weight.normal_(std=0.12)
    return made


@pytest.fixture(scope="session")
def learner(chat):
    return qwen3(chat)


@pytest.fixture(scope="session")
def engine(learner, chat):
    made = VllmSampler(learner, chat, ROWS, CONTEXT)
    yield made
    made.close()


@pytest.fixture
def nudged(learner):
    """Change the weights for one test, by this share of their size."""
    before = {name: value.clone() for name, value in learner.state_dict().items()}

    def nudge(share):
        torch.manual_seed(5)
        with torch.no_grad():
            for weight in learner.parameters():
                weight.add_(share * weight.abs().mean() * torch.randn_like(weight))

    yield nudge
    learner.load_state_dict(before)


def groups():
    return [(prompt(0), [1, 2, 3]), (prompt(4), [4, 5]), (prompt(2), [6])]


def rows_of(said):
    return token_rows(
        [
            attempt(*(step(heard, c.token_ids, logprobs=c.logprobs) for heard, c in turns))
            for turns in said.values()
        ]
    )


def gap_BT(said, model, temperature=1.0):
    """The engine's log-probabilities less the model's, and the mask."""
    rows = rows_of(said)
    with torch.no_grad():
        logprobs_BT, _ = token_logprobs(model, rows.token_ids_BT, rows.mask_BT, temperature)
    return rows.behaviour_BT - logprobs_BT, rows.mask_BT


def next_logprobs_V(model):
    """What may come after a prompt."""
    with torch.no_grad():
        return model(torch.tensor([prompt(1)])).logits[0, -1].log_softmax(-1)


def test_recorded_log_probabilities_are_those_of_the_assembled_rows(engine, learner):
    said = play(engine.policy(Sampling(9, 0.7)), groups(), turns=4)
    gap, mask_BT = gap_BT(said, learner, temperature=0.7)
    assert mask_BT.sum(dim=1).min() > 9  # more than one turn each
    torch.testing.assert_close(gap, torch.zeros_like(gap), atol=1e-4, rtol=0)


def test_both_engines_give_the_same_greedy_turns_and_log_probabilities(engine, learner, chat):
    plain = TransformersSampler(learner, chat, ROWS, CONTEXT)
    ours, theirs = (
        play(sampler.policy(Sampling(9, 0.0)), groups(), turns=3) for sampler in (plain, engine)
    )
    assert sampled(ours) == sampled(theirs)
    for seed, turns in ours.items():
        for (_, one), (_, other) in zip(turns, theirs[seed], strict=True):
            assert one.text == other.text and one.stopped == other.stopped
            np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)


def test_both_engines_draw_the_same_turns_by_the_same_seeds(engine, learner, chat):
    plain = TransformersSampler(learner, chat, ROWS, CONTEXT)
    ours, theirs = (
        sampled(play(sampler.policy(Sampling(9, 0.9)), groups(), turns=3))
        for sampler in (plain, engine)
    )
    assert ours == theirs
    assert len({tuple(turns) for turns in ours.values()}) == 6


@pytest.mark.parametrize(
    ("make", "config", "tied"),
    [
        (Qwen2ForCausalLM, Qwen2Config, True),
        (LlamaForCausalLM, LlamaConfig, False),
    ],
)
def test_other_architectures_are_sampled_and_updated_alike(chat, make, config, tied):
    model = qwen3(chat, make=make, config=config, tied=tied)
    sampler = VllmSampler(model, chat, ROWS, CONTEXT)
    for _ in range(2):
        gap, _ = gap_BT(play(sampler.policy(Sampling(9)), groups(), turns=2), model)
        torch.testing.assert_close(gap, torch.zeros_like(gap), atol=1e-4, rtol=0)
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.1)
    sampler.close()


def test_an_adapter_is_sampled_as_it_is_trained(chat):
    pytest.importorskip("peft")
    model = qwen3(chat)
    Lora(4, 8.0).add_to(model, seed=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    sampler = VllmSampler(model, chat, ROWS, CONTEXT)
    gap, _ = gap_BT(play(sampler.policy(Sampling(9)), groups(), turns=2), model)
    sampler.close()
    torch.testing.assert_close(gap, torch.zeros_like(gap), atol=1e-4, rtol=0)


def test_weights_are_taken_over_in_place(engine, learner, nudged):
    longer = [*groups(), ([20 + place % 200 for place in range(70)], [7, 8])]  # blocks are cached
    before = play(engine.policy(Sampling(9)), longer, turns=2)
    nudged(0.3)
    policy = engine.policy(Sampling(9))
    after = play(policy, longer, turns=2)
    stale, _ = gap_BT(before, learner)
    fresh, _ = gap_BT(after, learner)
    assert stale.abs().max() > 0.05
    torch.testing.assert_close(fresh, torch.zeros_like(fresh), atol=1e-4, rtol=0)
    assert {c.version for turns in after.values() for _, c in turns} == {policy.version}
    assert policy.version == 1 + next(iter(before.values()))[0][1].version


def test_weights_that_are_not_taken_over_are_noticed(engine, nudged, monkeypatch):
    nudged(1.0)
    monkeypatch.setattr(vllm_engine, "_pack_tied_head", lambda worker: None)
    with pytest.raises(SamplerError, match="differ by .* nats"):
        engine.policy(Sampling(9))


def test_stale_tokens_count_as_fresh_ones_by_truncated_importance_weights(engine, learner, nudged):
    policy, turns, before_V = engine.policy(Sampling(1)), [], next_logprobs_V(learner)
    for begin in range(0, 4_096, ROWS):
        for handle, completion in first_turns(policy, prompt(1), range(begin, begin + ROWS)):
            turns.append((tuple(prompt(1)), completion))
            policy.close(handle)
    nudged(0.1)
    rows, after_V = rows_of({n: [turn] for n, turn in enumerate(turns)}), next_logprobs_V(learner)
    with torch.no_grad():
        proximal_BT, _ = token_logprobs(learner, rows.token_ids_BT, rows.mask_BT)
    weight_B = truncated_weights(proximal_BT, rows.behaviour_BT, rows.mask_BT).sum(dim=1)
    # how often a token comes that has become likelier: what differs most between the two
    likelier_V = after_V > before_V
    exact = float(after_V.exp()[likelier_V].sum())
    seen_B = torch.tensor([bool(likelier_V[c.token_ids[0]]) for _, c in turns]).float()
    error = float((weight_B * seen_B).std()) / len(turns) ** 0.5
    assert abs(float(seen_B.mean()) - exact) > 6 * error
    assert abs(float((weight_B * seen_B).mean()) - exact) < 3 * error
    assert 0.0 < (weight_B == 2.0).float().mean() < 0.03  # so truncation is hardly a bias


def test_an_engine_in_bf16_differs_by_its_rounding_and_the_weights_average_to_one(chat, learner):
    sampler = VllmSampler(learner, chat, ROWS, CONTEXT, torch.bfloat16)
    said = {}
    for begin in range(0, 20):
        seeds = list(range(8 * begin, 8 * begin + 8))
        said |= play(sampler.policy(Sampling(16)), [(prompt(begin % 5), seeds)], turns=2)
    sampler.close()
    gap, mask_BT = gap_BT(said, learner)
    assert 1e-3 < gap.abs().max() < 0.3
    weights_BT = truncated_weights(-gap, torch.zeros_like(gap), mask_BT)
    assert float(weights_BT.sum() / mask_BT.sum()) == pytest.approx(1.0, abs=5e-3)


def test_the_draws_depend_on_the_seed_alone(engine):
    one = play(engine.policy(Sampling(9)), [(prompt(1), [1, 2])], turns=2)
    two = play(engine.policy(Sampling(9)), [(prompt(1), [2]), (prompt(1), [3])], turns=2)
    assert sampled(one)[2] == sampled(two)[2]
    assert sampled(one)[1] != sampled(one)[2] != sampled(two)[3]
    assert sampled(one)[1][0] != sampled(one)[1][1]


def test_turns_of_a_sequence_have_draws_of_their_own(engine, nudged, learner):
    nudged(0.0)  # restores the weights
    with torch.no_grad():
        learner.get_output_embeddings().weight.zero_()  # all tokens alike: the draws are the seed's
    ((_, first), (_, second)) = play(engine.policy(Sampling(9)), [(prompt(1), [1])], turns=2)[1]
    assert first.token_ids != second.token_ids


def test_tokens_are_drawn_as_often_as_they_are_likely(engine, learner, chat):
    counts = np.zeros(len(chat.tokenizer))
    policy = engine.policy(Sampling(1))
    for begin in range(0, 2_048, ROWS):
        for handle, completion in first_turns(policy, prompt(1), range(begin, begin + ROWS)):
            counts[completion.token_ids[0]] += 1
            policy.close(handle)
    with torch.no_grad():
        expected = learner(torch.tensor([prompt(1)])).logits[0, -1].softmax(-1).numpy()
    # the standard deviation of a share of 2,048 draws is at most 0.011
    assert np.abs(counts / 2_048 - expected).max() < 0.05


def test_groups_share_their_prompt_and_turns_their_prefix(engine, monkeypatch):
    policy, cached = engine.policy(Sampling(40)), []
    run = engine._engine._engine.step

    def counted():
        answers = run()
        cached.extend((len(a.prompt_token_ids), a.num_cached_tokens) for a in answers)
        return answers

    monkeypatch.setattr(engine._engine._engine, "step", counted)
    long_prompt = [20 + place % 200 for place in range(70)]
    handles = policy.open(long_prompt, [1, 2, 3])
    done = dict(until(policy, 3))
    assert sorted(cached) == [(70, 0), (70, 64), (70, 64)]  # two whole blocks of 32 tokens
    policy.extend(handles[0], [30] * 3)
    until(policy, 1)
    length = 70 + len(done[handles[0]].token_ids) + 3
    # the last token of a turn is fed with the observation, so a block may end before it
    assert cached[-1] == (length, (length - 4) // 32 * 32)


def test_a_turn_ends_at_any_end_token_which_is_its_last(engine, learner, monkeypatch):
    ((_, whole),) = first_turns(engine.policy(Sampling(9, 0.0)), prompt(1), [0])
    end = whole.token_ids[4]
    monkeypatch.setattr(learner.generation_config, "eos_token_id", [end])
    ((_, cut),) = first_turns(engine.policy(Sampling(9, 0.0)), prompt(1), [0])
    assert cut.stopped and cut.token_ids == whole.token_ids[: whole.token_ids.index(end) + 1]
    assert not whole.stopped and len(whole.token_ids) == len(whole.logprobs) == 9


def test_a_full_context_ends_the_turn_and_the_next_one_has_no_token(engine):
    policy = engine.policy(Sampling(200, 0.0))
    (handle,) = policy.open([30] * (CONTEXT - 4), [1])
    ((_, first),) = policy.advance()
    assert len(first.token_ids) == 4 and not first.stopped
    policy.extend(handle, [30])
    ((_, second),) = policy.advance()
    assert second.token_ids == () and not second.stopped and second.text == ""
    assert policy.advance() == []


def test_a_prompt_or_a_group_without_room_is_refused(engine):
    policy = engine.policy(Sampling(9))
    with pytest.raises(ValueError, match="expected 1 to 127 prompt tokens, got 128"):
        policy.open([30] * CONTEXT, [1])
    with pytest.raises(ValueError, match="17 attempts need as many rows"):
        policy.open(prompt(0), list(range(ROWS + 1)))


def test_a_new_policy_drops_what_the_last_one_asked_for(engine):
    engine.policy(Sampling(9)).open(prompt(0), [1, 2])
    policy = engine.policy(Sampling(9))
    policy.open(prompt(0), [3])
    assert len(until(policy, 1)) == 1 and policy.advance() == []


def test_many_more_episodes_than_rows_are_sampled_as_few_are(engine):
    many = [(prompt(number % 3), [2 * number, 2 * number + 1]) for number in range(30)]
    said = play(engine.policy(Sampling(3)), many, turns=2)
    few = play(engine.policy(Sampling(3)), many[:2], turns=2)
    assert len(said) == 60 and sampled(few).items() <= sampled(said).items()


def test_a_run_learns_and_is_evaluated_by_vllm(tmp_path):
    flags = (
        "--sampler vllm --databases 4 --unseen-databases 2 --templates list_column,count_rows "
        "--hidden 64 --heads 2 --layers 1 --vocabulary 1200 --demonstrations 16 --warm-steps 4 "
        "--rows 8 --updates 2 --tasks 2 --group-size 4 --eval-tasks 2 --eval-samples 2 --threads 1 "
        "--max-new-tokens 12 --max-turns 2 --correction tis"
    ).split()
    train([*flags, "--output", str(tmp_path / "run")])
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").open()]
    updates = [line for line in lines if line["phase"] == "train"]
    assert [line["update"] for line in updates] == [0, 1]
    assert all(abs(line.get("kl_rollout", 0.0)) < 1e-2 for line in updates)
    assert (tmp_path / "run" / "table.md").is_file()
    evaluate(
        ["--policy", str(tmp_path / "run"), "--tasks", "2", "--sampler", "vllm", "--rows", "4",
         "--output", str(tmp_path / "evaluation")]
    )  # fmt: skip
    assert (tmp_path / "evaluation" / "table.md").is_file()

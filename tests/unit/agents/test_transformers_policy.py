"""What the policy samples, and that neither batching nor the schedule changes it."""

import numpy as np
import pytest
import torch
from policy_play import first_turns, observation, play, prompt, sampled, until
from rollout_records import attempt, step
from transformers import AutoConfig, AutoModelForCausalLM

from agents.batch import token_rows
from agents.chat import Chat
from agents.likelihood import token_logprobs
from agents.policies.base import Sampling
from agents.policies.samplers import SAMPLERS
from agents.policies.decoding import additive
from agents.policies.transformers import TransformersPolicy, TransformersSampler
from agents.tiny import tiny_qwen3

CONTEXT = 96


def make(model, chat, *, rows=16, context=CONTEXT, new=9, temperature=1.0):
    return TransformersPolicy(model, chat, Sampling(new, temperature), rows=rows, context=context)


def test_recorded_log_probabilities_are_those_of_the_assembled_rows(model, chat):
    groups = [(prompt(0), [1, 2, 3]), (prompt(4), [4, 5]), (prompt(2), [6])]
    said = play(make(model, chat, temperature=0.7), groups, turns=4)
    rows = token_rows(
        [
            attempt(*(step(heard, c.token_ids, logprobs=c.logprobs) for heard, c in turns))
            for turns in said.values()
        ]
    )
    with torch.no_grad():
        logprobs_BT, _ = token_logprobs(model, rows.token_ids_BT, rows.mask_BT, temperature=0.7)
    assert rows.mask_BT.sum(dim=1).min() > 9  # more than one turn each
    torch.testing.assert_close(rows.behaviour_BT, logprobs_BT, atol=1e-4, rtol=0)


def test_a_model_with_another_attention_keeps_it(model, chat):
    """Gemma 2 caps its scores, which neither fused attention nor products of ours do."""
    config = AutoConfig.for_model(
        "gemma2", vocab_size=model.config.vocab_size, hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        initializer_range=0.5, attn_logit_softcapping=0.5, eos_token_id=chat.stop_id,
        pad_token_id=chat.stop_id, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    capped = AutoModelForCausalLM.from_config(config).eval()
    test_recorded_log_probabilities_are_those_of_the_assembled_rows(capped, chat)
    assert capped.config._attn_implementation == "eager"


def test_the_schedule_does_not_change_the_draws(model, chat):
    groups = [(prompt(number), [10 * number, 10 * number + 1, number]) for number in range(1, 6)]
    few = play(make(model, chat, rows=4), groups, turns=3)
    many = play(make(model, chat, rows=16), groups, turns=3)
    assert sampled(few) == sampled(many)


def test_a_shared_prompt_gives_what_separate_prompts_give(model, chat):
    shared = play(make(model, chat), [(prompt(3), [1, 2, 3, 4])], turns=3)
    separate = play(make(model, chat), [(prompt(3), [seed]) for seed in (1, 2, 3, 4)], turns=3)
    assert sampled(shared) == sampled(separate)
    assert len({tuple(turns) for turns in map(tuple, sampled(shared).values())}) == 4


def test_the_draws_depend_on_the_seed_alone(model, chat):
    one = play(make(model, chat), [(prompt(1), [1, 2])], turns=2)
    two = play(make(model, chat), [(prompt(1), [2]), (prompt(1), [3])], turns=2)
    assert sampled(one)[2] == sampled(two)[2]
    assert sampled(one)[1] != sampled(one)[2] != sampled(two)[3]


def test_tokens_are_drawn_as_often_as_they_are_likely(model, chat):
    counts = np.zeros(len(chat.tokenizer))
    policy = make(model, chat, rows=64, new=1)
    for begin in range(0, 2_048, 64):
        for handle, completion in first_turns(policy, prompt(1), range(begin, begin + 64)):
            counts[completion.token_ids[0]] += 1
            policy.close(handle)
    with torch.no_grad():
        expected = model(torch.tensor([prompt(1)])).logits[0, -1].softmax(-1).numpy()
    # the standard deviation of a share of 2,048 draws is at most 0.011
    assert np.abs(counts / 2_048 - expected).max() < 0.05
    assert (counts[expected < 1e-6] == 0).all()


def test_greedy_is_the_argmax_of_a_plain_forward_pass(model, chat):
    said = play(make(model, chat, temperature=0.0), [(prompt(2), [1]), (prompt(5), [2])], turns=3)
    for turns in said.values():
        ids = []
        for heard, completion in turns:
            ids += heard
            for token in completion.token_ids:
                with torch.no_grad():
                    assert token == int(model(torch.tensor([ids])).logits[0, -1].argmax())
                ids.append(token)


def test_a_lower_temperature_is_recorded_at_that_temperature(model, chat):
    ((_, completion),) = first_turns(make(model, chat, temperature=0.5, new=1), prompt(2), [3])
    with torch.no_grad():
        logits_V = model(torch.tensor([prompt(2)])).logits[0, -1]
    expected = torch.log_softmax(logits_V / 0.5, -1)[completion.token_ids[0]]
    assert completion.logprobs[0] == pytest.approx(float(expected), abs=1e-4)


def test_a_turn_ends_at_the_end_token_which_is_its_last(chat, imitator, demonstrations):
    policy = make(imitator, chat, context=512, new=120, temperature=0.0)
    ((_, completion),) = first_turns(policy, demonstrations[0].steps[0].context_ids, [0])
    assert completion.stopped
    assert completion.token_ids.index(chat.stop_id) == len(completion.token_ids) - 1
    assert completion.text == chat.text(completion.token_ids[:-1])
    assert completion.text.startswith("<reasoning>")


def test_every_end_token_of_the_model_ends_a_turn(model, chat):
    ((_, whole),) = first_turns(make(model, chat, temperature=0.0), prompt(1), [0])
    assert not whole.stopped
    end = whole.token_ids[4]
    model.generation_config.eos_token_id = [chat.stop_id, end]
    ((_, cut),) = first_turns(make(model, chat, temperature=0.0), prompt(1), [0])
    assert cut.stopped and cut.token_ids == whole.token_ids[: whole.token_ids.index(end) + 1]


def test_a_turn_at_the_token_limit_is_not_stopped(model, chat):
    said = play(make(model, chat, new=3), [(prompt(0), [1, 2, 3])], turns=2)
    for turns in said.values():
        for _, completion in turns:
            assert not completion.stopped and len(completion.token_ids) == 3


def test_a_full_context_ends_the_turn_and_the_next_one_has_no_token(model, chat):
    policy = make(model, chat, context=10, new=50)
    (handle,) = policy.open(prompt(0), [1])  # 5 tokens
    ((_, first),) = policy.advance()
    assert len(first.token_ids) == 5 and not first.stopped
    policy.extend(handle, [30])
    ((_, second),) = policy.advance()
    assert second.token_ids == () and not second.stopped and second.text == ""


def test_an_observation_that_leaves_no_room_ends_its_sequence_alone(model, chat):
    policy = make(model, chat, context=40, new=4)
    first, second = policy.open(prompt(0), [1, 2])
    until(policy, 2)
    policy.extend(first, [30] * 40)
    policy.extend(second, [30])
    answers = dict(until(policy, 2))
    assert answers[first].token_ids == () and not answers[first].stopped
    assert len(answers[second].token_ids) == 4


@pytest.mark.parametrize("tokens", [0, 10, 11])
def test_a_prompt_that_leaves_no_room_is_refused(model, chat, tokens):
    with pytest.raises(ValueError, match="expected 1 to 9 prompt tokens"):
        make(model, chat, context=10).open([30] * tokens, [1])


def test_a_group_larger_than_the_rows_is_refused(model, chat):
    with pytest.raises(ValueError, match="5 attempts need as many rows"):
        make(model, chat, rows=4).open(prompt(0), [1, 2, 3, 4, 5])


def test_closing_frees_rows_for_many_more_episodes_than_rows(model, chat):
    groups = [(prompt(number % 3), [2 * number, 2 * number + 1]) for number in range(15)]
    said = play(make(model, chat, rows=3, new=2), groups, turns=2)
    assert len(said) == 30 and all(len(turns) == 2 for turns in said.values())


def test_a_reused_row_gives_what_a_fresh_one_gives(model, chat):
    reused = play(make(model, chat, rows=1), [(prompt(6), [1]), (prompt(0), [2])], turns=3)
    fresh = play(make(model, chat, rows=1), [(prompt(0), [2])], turns=3)
    assert sampled(reused)[2] == sampled(fresh)[2]


def test_grouped_keys_and_values_and_tall_heads_are_cached_alike(chat):
    model = tiny_qwen3(chat.tokenizer, hidden=32, layers=1, heads=4, context=64, seed=1).eval()
    config = model.config.__class__(
        **{**model.config.to_dict(), "num_key_value_heads": 2, "head_dim": 16}
    )
    torch.manual_seed(0)
    model = type(model)(config).eval()
    test_recorded_log_probabilities_are_those_of_the_assembled_rows(model, chat)


def test_the_last_row_moves_to_the_place_of_an_episode_that_ended(model, chat):
    policy = make(model, chat, rows=8, new=4)
    handles = policy.open(prompt(2), [1, 2, 3, 4])
    until(policy, 4)
    before, widths, forward = model.config._attn_implementation, [], policy._forward
    for handle in handles[:2]:
        policy.close(handle)
    policy._forward = lambda rows, ids_BT, *more: (
        widths.append(len(ids_BT)) or forward(rows, ids_BT, *more)
    )
    for handle in handles[2:]:
        policy.extend(handle, observation(handle, 1))
    moved = dict(until(policy, 2))
    whole = make(model, chat, rows=8, new=4)
    whole.open(prompt(2), [1, 2, 3, 4])
    until(whole, 4)
    for handle in handles[2:]:
        whole.extend(handle, observation(handle, 1))
    for handle, completion in until(whole, 2):
        assert completion.token_ids == moved[handle].token_ids
    assert max(widths) == 2
    assert model.config._attn_implementation == before


def test_rows_out_of_order_find_their_own_tokens(model, chat):
    """Of four episodes the first ends and the last moves to its row; another is opened behind."""
    policy = make(model, chat, rows=8, new=4)
    first, *others = policy.open(prompt(2), [1, 2, 3])
    until(policy, 3)
    policy.close(first)
    (late,) = policy.open(prompt(3), [4])
    until(policy, 1)
    assert [policy._sequences[handle].row for handle in (*others, late)] == [1, 0, 2]
    for handle in (*others, late):
        policy.extend(handle, observation(handle, 1))
    found = dict(until(policy, 3))
    for number, seed, handle in ((2, 2, others[0]), (2, 3, others[1]), (3, 4, late)):
        alone = make(model, chat, rows=8, new=4)
        (own,) = alone.open(prompt(number), [seed])
        until(alone, 1)
        alone.extend(own, observation(handle, 1))
        ((_, completion),) = until(alone, 1)
        assert completion.token_ids == found[handle].token_ids
        assert completion.logprobs == pytest.approx(found[handle].logprobs, abs=1e-4)


def test_the_place_of_a_prompt_is_used_again(model, chat):
    policy = make(model, chat, rows=4, new=2)
    for number in range(5):
        handles = policy.open(prompt(number), [1, 2])
        until(policy, 2)
        for handle in handles:
            policy.close(handle)
    assert policy._prompts.store.rows == 1


def test_completions_carry_the_version_of_the_weights(model, chat):
    policy = make(model, chat, new=1)
    policy.version = 7
    ((_, completion),) = first_turns(policy, prompt(0), [1])
    assert completion.version == 7


@pytest.mark.parametrize("bad", [{"temperature": -0.1}, {"max_new_tokens": 0}])
def test_senseless_sampling_is_refused(bad):
    with pytest.raises(ValueError, match="expected temperature >= 0"):
        Sampling(**bad)


def test_a_tokenizer_without_a_template_or_an_end_token_is_refused(chat):
    tokenizer = chat.tokenizer.__class__(tokenizer_object=chat.tokenizer.backend_tokenizer)
    with pytest.raises(ValueError, match="no chat template"):
        Chat(tokenizer)
    tokenizer.chat_template = "{{ messages }}"
    with pytest.raises(ValueError, match="no end token"):
        Chat(tokenizer)


def test_a_copy_in_bf16_follows_the_weights_and_differs_by_its_rounding(model, chat):
    sampler = TransformersSampler(model, chat, 16, CONTEXT, torch.bfloat16)
    for _ in range(2):
        said = play(sampler.policy(Sampling(9)), [(prompt(1), [1, 2]), (prompt(4), [3])], turns=2)
        rows = token_rows(
            [
                attempt(*(step(heard, c.token_ids, logprobs=c.logprobs) for heard, c in turns))
                for turns in said.values()
            ]
        )
        with torch.no_grad():
            logprobs_BT, _ = token_logprobs(model, rows.token_ids_BT, rows.mask_BT)
        gap = (rows.behaviour_BT - logprobs_BT).abs()
        assert 1e-3 < gap.max() and gap.sum() / rows.mask_BT.sum() < 0.3
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(torch.roll(weight, 1, dims=0))  # another function altogether
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_the_model_itself_is_sampled_in_its_own_dtype_and_policies_are_counted(model, chat):
    sampler = SAMPLERS["transformers"](model, chat, 4, CONTEXT, torch.float32)
    first, second = sampler.policy(Sampling(2)), sampler.policy(Sampling(2))
    assert first.model is second.model is model
    assert (first.version, second.version) == (0, 1)


def test_a_mask_is_added_to_the_scores():
    mask = torch.tensor([[True, False]])
    for dtype in (torch.float32, torch.bfloat16):
        found = additive(mask, dtype)
        assert found.dtype == dtype and found.tolist()[0] == [0.0, torch.finfo(dtype).min]

"""Hold sequences of random tokens with any policy."""

import numpy as np


def prompt(number):
    """Prompts of different length."""
    return [20 + (7 * number + 3 * place) % 200 for place in range(5 + 3 * number)]


def observation(seed, turn):
    """What is said to the sequence of a seed after a turn: from 1 to 11 tokens."""
    draws = np.random.default_rng((seed, turn, 7))
    return draws.integers(10, 250, size=draws.integers(1, 12)).tolist()


def play(policy, groups, turns):
    """Hold every sequence for a number of turns; return the (context, completion) pairs by seed."""
    seeds, heard, said = {}, {}, {}
    for prompt_ids, group_seeds in groups:
        for handle, seed in zip(policy.open(prompt_ids, group_seeds), group_seeds, strict=True):
            seeds[handle], heard[handle], said[seed] = seed, list(prompt_ids), []
    while seeds:
        for handle, completion in policy.advance():
            seed = seeds[handle]
            said[seed].append((tuple(heard[handle]), completion))
            if len(said[seed]) == turns or not completion.token_ids:
                policy.close(handle)
                del seeds[handle]
            else:
                heard[handle] = observation(seed, len(said[seed]))
                policy.extend(handle, heard[handle])
    assert policy.advance() == []
    return said


def first_turns(policy, prompt_ids, seeds):
    """The first turn of each seed, as (handle, completion)."""
    return until(policy, len(policy.open(prompt_ids, list(seeds))))


def until(policy, count):
    """Advance until so many turns are complete."""
    done = []
    while len(done) < count:
        done += policy.advance()
    return done


def sampled(said):
    return {
        seed: [completion.token_ids for _, completion in turns] for seed, turns in said.items()
    }

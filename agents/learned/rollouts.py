"""More rollouts that estimators ask for: a greedy attempt per task, attempts that branch."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace

import numpy as np

from agents.policies.base import Policy
from agents.rollout import Collector, places_of
from agents.types import Group, Trajectory

ROLLED = frozenset({"greedy", "trees"})
"""The signals that come from here, by the names in estimators' `needs`."""

_SALT = 0xB4A9C4


def collect_for(
    needs: Container[str],
    collector: Collector,
    policy: Callable[[float], Policy],
    temperature: float,
    task_ids: Sequence[str],
    group_size: int,
    seed: int,
    on_done: Callable[[], None] = lambda: None,
) -> list[Group]:
    """Groups with the rollouts that an estimator `needs`; `policy` takes a temperature."""
    play = branched if "trees" in needs else Collector.collect
    groups = play(collector, policy(temperature), task_ids, group_size, seed, on_done)
    if "greedy" not in needs:
        return groups
    return with_greedy(groups, collector.collect(policy(0.0), task_ids, 1, seed, on_done))


def with_greedy(groups: Sequence[Group], greedy: Sequence[Group]) -> list[Group]:
    """The groups with "greedy": what the greedy attempt at the same task scored, on every step."""
    found = []
    for group, best in zip(groups, greedy, strict=True):
        score = best.attempts[0].outcome_reward
        found.append(group.with_signals({
            "greedy": tuple(np.full(len(attempt.steps), score) for attempt in group.attempts)
        }))
    return found


def branched(
    collector: Collector,
    policy: Policy,
    task_ids: Sequence[str],
    group_size: int,
    seed: int,
    on_done: Callable[[], None] = lambda: None,
) -> list[Group]:
    """One group per task in which every second attempt is a branch of the one before it.

    A branch shares the turns of its trunk up to a random one, drawn evenly from all of them, and
    is played on from there; the two are a tree of `Group.trees`. A branch from the first turn
    shares the prompt alone. `on_done` is called after every attempt.

    Raises ValueError for an odd `group_size`, and like `Collector.collect`.
    """
    if group_size % 2:
        raise ValueError(f"attempts branch in pairs: expected an even group_size, got {group_size}")
    trunks = [
        trunk
        for group in collector.collect(policy, task_ids, group_size // 2, seed, on_done)
        for trunk in group.attempts
    ]
    own = np.random.SeedSequence((_SALT, seed))
    draws = np.random.default_rng(own).random(len(trunks))
    cuts = [int(draw * len(trunk.steps)) for draw, trunk in zip(draws, trunks, strict=True)]
    places = [places_of(trunk)[cut] for cut, trunk in zip(cuts, trunks, strict=True)]
    rests = collector.go_on(policy, places, 1, int(own.generate_state(1)[0]), on_done)
    attempts = [
        attempt
        for trunk, cut, (rest,) in zip(trunks, cuts, rests, strict=True)
        for attempt in (trunk, _branch(trunk, cut, rest))
    ]
    trees = tuple(str(number // 2) for number in range(group_size))
    return [
        Group(task_id, tuple(attempts[place * group_size :][:group_size]), trees)
        for place, task_id in enumerate(task_ids)
    ]


def _branch(trunk: Trajectory, cut: int, rest: Trajectory) -> Trajectory:
    """The first `cut` turns of the trunk, then the rest; both saw the same before the next turn."""
    shared = trunk.steps[cut]
    first = replace(
        rest.steps[0], context_ids=shared.context_ids, state_key=shared.state_key
    )
    return replace(rest, steps=(*trunk.steps[:cut], first, *rest.steps[1:]))

"""Fill a batch with groups that teach: DAPO's dynamic sampling with replacement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agents.credit.selection import is_informative
from agents.types import Group

Sample = Callable[[int, int], Sequence[Group]]
"""From the number of a round and how many groups are wanted to new groups."""


@dataclass(frozen=True)
class Filled:
    """What came of it.

    batch    what to train on: groups that teach, in the order of sampling, as many as were wanted
             unless rounds ran out; all groups where none teaches
    sampled  all groups, those that teach nothing included: what a policy is to be measured on
    rounds   rounds that were sampled
    """

    batch: tuple[Group, ...]
    sampled: tuple[Group, ...]
    rounds: int


def refill(sample: Sample, wanted: int, rounds: int, *, process: bool = False) -> Filled:
    """Sample until `wanted` groups teach, at most `rounds` times.

    A group teaches when its attempts differ in the outcome (with `process`: or process rewards
    differ). Round 0 samples `wanted` groups, every later one as many as are missing, so nothing
    that was sampled is thrown away for being too much (DAPO samples whole batches and cuts off).
    With a single round nothing can be replaced, and nothing is left out.

    The result is a function of what `sample` returns: where that follows from the weights and its
    arguments, a resumed run repeats it.

    Raises ValueError unless wanted and rounds are at least 1.

    Source: DAPO, arXiv:2503.14476, section 3.2.
    """
    if wanted < 1 or rounds < 1:
        raise ValueError(f"wanted and rounds must be at least 1, got {wanted} and {rounds}")
    kept: list[Group] = []
    sampled: list[Group] = []
    done = 0
    while len(kept) < wanted and done < rounds:
        groups = sample(done, wanted - len(kept))
        sampled += groups
        kept += [group for group in groups if is_informative(group.signals(), process=process)]
        done += 1
    batch = kept if kept and rounds > 1 else sampled
    return Filled(tuple(batch), tuple(sampled), done)

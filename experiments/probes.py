"""Ask every credit estimator for its credit where the right one is known.

    python experiments/probes.py            # print the page
    python experiments/probes.py --write    # and write docs/probes.md

About two minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agents.credit import ESTIMATORS, Estimator, GroupSignals, assign
from agents.credit.base import FloatArray
from experiments.credit_accuracy import Accuracy, accuracy, rms, total
from experiments.decision_problems import (
    Attempt,
    Move,
    Policy,
    Probe,
    Visit,
    group_of,
    walk,
)

PAGE = Path(__file__).resolve().parent.parent / "docs" / "probes.md"
ATTEMPTS = 8
SLIP = Move("error", process=-1.0, runs=False)

PROBES: Mapping[str, Probe] = {
    "delayed reward": Probe(
        "The first step decides, and three steps that change nothing follow before the outcome.",
        "The choice is worth +-1/2, what follows nothing.",
        {
            "choice": {"right": Move("r1", process=1.0), "wrong": Move("w1")},
            "r1": {"go": Move("r2"), "run": Move("r2")},
            "r2": {"go": Move("r3"), "run": Move("r3")},
            "r3": {"end": Move(success=1.0), "stop": Move(success=1.0)},
            "w1": {"go": Move("w2"), "run": Move("w2")},
            "w2": {"go": Move("w3"), "run": Move("w3")},
            "w3": {"end": Move(), "stop": Move()},
        },
    ),
    "distractor": Probe(
        "Looking around is free and useless; only the last step, the answer, counts.",
        "Looks are worth nothing, also in attempts that end well.",
        {
            "first": {"answer now": Move("answer"), "look": Move("second", process=0.2)},
            "second": {"answer now": Move("answer"), "look": Move("answer", process=0.2)},
            "answer": {"right": Move(success=1.0, process=1.0), "wrong": Move()},
        },
    ),
    "recovery": Probe(
        "A slip early on ends in an error; whoever repairs it can still answer right.",
        "The slip costs 1/8, the repair earns 3/8: both stand in attempts that end well.",
        {
            "query": {"good": Move("answer", process=1.0), "slip": SLIP},
            "error": {"repair": Move("sure", process=1.0), "give up": Move()},
            "sure": {"right": Move(success=1.0, process=1.0), "wrong": Move(success=0.5)},
            "answer": {"right": Move(success=1.0, process=1.0), "wrong": Move()},
        },
    ),
    "two routes": Probe(
        "A short and a long way lead to the same answer, which is right in half of the cases.",
        "Without a price on steps both are worth the same: nothing at the fork.",
        {
            "fork": {"short": Move("answer"), "long": Move("l1", process=0.5)},
            "l1": {"on": Move("l2", process=0.5), "walk": Move("l2", process=0.5)},
            "l2": {"on": Move("answer", process=0.5), "walk": Move("answer", process=0.5)},
            "answer": {"right": Move(success=1.0, process=1.0), "wrong": Move()},
        },
    ),
    "aliasing": Probe(
        "Two rooms look the same, but what is right in one is wrong in the other.",
        "The key opens one of them; comparing steps by looks mixes them up.",
        {
            "hall": {"left": Move("room a"), "right": Move("room b")},
            "room a": {"push": Move(success=1.0, process=1.0), "pull": Move(success=0.5)},
            "room b": {"push": Move(success=0.0), "pull": Move(success=0.5)},
        },
        looks={"room a": "room", "room b": "room"},
    ),
    "needed look": Probe(
        "Who looks first knows the answer; who does not has to guess among four.",
        "The look is worth something although no reward comes with it.",
        {
            "question": {"look": Move("knows"), "skip": Move("guesses")},
            "knows": {"answer": Move(success=1.0), "blunder": Move()},
            "guesses": {"answer": Move(success=0.25), "blunder": Move()},
        },
    ),
    "bait": Probe(
        "A step that a process reward pays well leads nowhere.",
        "The bait is worth -1/4, whatever is paid for it.",
        {
            "start": {"plain": Move("answer"), "bait": Move("trap", process=1.0)},
            "answer": {"right": Move(success=1.0), "wrong": Move()},
            "trap": {"right": Move(), "wrong": Move()},
        },
    ),
}


@dataclass(frozen=True)
class Sample:
    """Groups of attempts at one problem, with what every step is truly worth."""

    probe: Probe
    groups: list[list[Attempt]]
    policy: Policy

    @property
    def visits_N(self) -> list[Visit]:
        """The state and move of every step, group by group."""
        return [visit for group in self.groups for attempt in group for visit in attempt.visits]

    @cached_property
    def signals(self) -> list[GroupSignals]:
        """The groups as estimators see them, with exact signals."""
        return [group_of(self.probe, group, self.policy) for group in self.groups]

    def credit(self, estimator: Estimator) -> FloatArray:
        """The credit of every step, in the order of `visits_N`."""
        return np.concatenate(
            [steps_S for credit in assign(estimator, self.signals) for steps_S in total(credit)]
        )


def sample(probe: Probe, policy: Policy, groups: int, draws: np.random.Generator) -> Sample:
    """Walk through a problem `groups` times `ATTEMPTS` times."""
    walked = [[walk(probe, policy, draws) for _ in range(ATTEMPTS)] for _ in range(groups)]
    return Sample(probe, walked, policy)


@dataclass(frozen=True)
class Verdict:
    """What one estimator gives on one problem.

    by_visit   mean credit of each state and move, relative to the root mean square of all steps
    learned    chance of success after learning from it, and `steps` the attempts' mean length
    """

    by_visit: Mapping[Visit, float]
    accuracy: Accuracy
    learned: float
    steps: float


def judge(estimator: Estimator, seen: Sample, updates: int, seeds: int) -> Verdict:
    """Compare the credit of a sample with the truth, and learn from it."""
    credit_N, visits_N = seen.credit(estimator), seen.visits_N
    truth_N = np.array([seen.probe.advantage(visit, seen.policy) for visit in visits_N])
    scale = rms(credit_N) or 1.0
    place = {visit: number for number, visit in enumerate(seen.probe.visits)}
    at_N = np.array([place[visit] for visit in visits_N])
    by_visit = {v: float(credit_N[at_N == i].mean() / scale) for v, i in place.items()}
    ends = [learn(seen.probe, estimator, updates, seed) for seed in range(seeds)]
    start = seen.probe.start
    return Verdict(
        by_visit,
        accuracy(truth_N, credit_N),
        float(np.mean([seen.probe.value(start, policy) for policy in ends])),
        float(np.mean([seen.probe.length(start, policy) for policy in ends])),
    )


def learn(
    probe: Probe,
    estimator: Estimator,
    updates: int,
    seed: int,
    rate: float = 0.3,
    groups: int = 4,
) -> Policy:
    """Follow the policy gradient of a table of logits, from the uniform policy.

    Credit is scaled to root mean square 1 in every batch, so that estimators differ in the
    direction of their updates and not in their size. Learned signals are exact for the policy of
    the moment.
    """
    draws = np.random.default_rng(seed)
    logits = {seen: dict.fromkeys(moves, 0.0) for seen, moves in probe.uniform().items()}
    for _ in range(updates):
        batch = sample(probe, softmax(logits), groups, draws)
        credit_N = batch.credit(estimator)
        scale = rate / (rms(credit_N) or 1.0) / (groups * ATTEMPTS)
        for (state, move), credit in zip(batch.visits_N, credit_N, strict=True):
            chances = batch.policy[probe.seen(state)]
            for name, chance in chances.items():
                logits[probe.seen(state)][name] += scale * credit * ((name == move) - chance)
    return softmax(logits)


def softmax(logits: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """From logits to a policy."""
    policy = {}
    for seen, row in logits.items():
        weights = np.exp(np.array(list(row.values())) - max(row.values()))
        policy[seen] = dict(zip(row, (weights / weights.sum()).tolist(), strict=True))
    return policy


def page(verdicts: Mapping[str, Mapping[str, Verdict]], command: str, setting: str) -> str:
    """The page of all problems; `verdicts` by problem and estimator."""
    parts = [_HEADER.format(command=command, setting=setting), _overview(verdicts)]
    parts += [_section(name, PROBES[name], rows) for name, rows in verdicts.items()]
    return "\n".join(parts)


_HEADER = """# Probes: credit where the right one is known

Generated by `{command}`; do not edit. {setting}

Each problem below is a small graph of states and moves, solved by recursion: the right credit of a
move is its advantage A(s, a) = Q(s, a) - V(s), the change in the chance of success under the policy
that acts (here: uniform). Learned signals (critic, prover, progress, step score) are the exact
ones, so what is compared is the estimators and not the models they ask.

- **correlation** of the credit of all steps with their advantages, within sampled groups of eight;
- **sign**: share of the steps with an advantage whose credit has its sign;
- **leak**: root mean square credit on steps worth nothing, relative to that of all steps;
- **learned**: chance of success after learning from this credit, from the uniform policy;
- **mean credit** of every move, relative to the root mean square of the credit.

Steps cost nothing here. An estimator that discounts (`finestep`, `gigpo`) prefers short ways, and
is counted as wrong for it on "two routes"; whether that is wanted is the user's choice.
"""


def _overview(verdicts: Mapping[str, Mapping[str, Verdict]]) -> str:
    names = list(verdicts)
    lines = ["## Correlation with the right credit\n", _row(["estimator", *names, "mean"]),
             _row(["---"] * (len(names) + 2))]
    for estimator in next(iter(verdicts.values())):
        found = [verdicts[name][estimator].accuracy.correlation for name in names]
        lines.append(_row([estimator, *map(_number, found), _number(float(np.mean(found)))]))
    return "\n".join(lines) + "\n"


def _section(name: str, probe: Probe, rows: Mapping[str, Verdict]) -> str:
    policy = probe.uniform()
    heads = [f"{state}: {move}" for state, move in probe.visits]
    right = [_number(probe.advantage(visit, policy)) for visit in probe.visits]
    lines = [f"## {name.capitalize()}\n", f"{probe.story} {probe.lesson}\n"]
    lines.append(_row(["estimator", "correlation", "sign", "leak", "learned", "steps", *heads]))
    lines.append(_row(["---"] * (6 + len(heads))))
    lines.append(_row(["*right credit*", "", "", "", _number(best(probe)), "", *right]))
    for estimator, verdict in rows.items():
        found = verdict.accuracy
        numbers = [found.correlation, found.sign, found.leak, verdict.learned, verdict.steps]
        means = [_number(verdict.by_visit[visit]) for visit in probe.visits]
        lines.append(_row([estimator, *map(_number, numbers), *means]))
    return "\n".join(lines) + "\n"


def best(probe: Probe, state: str = "") -> float:
    """Chance of success of a policy that tells all states apart and never errs."""
    moves = probe.states[state or probe.start].values()
    return max(best(probe, move.to) if move.to else move.success for move in moves)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def main() -> None:
    """Judge every estimator on every problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=200, help="groups of eight per problem")
    parser.add_argument("--updates", type=int, default=80, help="updates of the learner")
    parser.add_argument("--seeds", type=int, default=3, help="runs of the learner")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    verdicts = {}
    for name, probe in PROBES.items():
        seen = sample(probe, probe.uniform(), options.groups, np.random.default_rng(0))
        verdicts[name] = {
            estimator: judge(build(), seen, options.updates, options.seeds)
            for estimator, build in ESTIMATORS.items()
        }
        print(name, file=sys.stderr)
    setting = (
        f"{options.groups} groups of {ATTEMPTS} attempts\nper problem; learning: {options.seeds} "
        f"runs of {options.updates} updates on 4 groups."
    )
    text = page(verdicts, "python experiments/probes.py --write", setting)
    print(text)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

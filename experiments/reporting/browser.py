"""The data of the trajectory browser: turns, results, rewards, and credit by two algorithms."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agents.credit import Estimator, FineStep, Grpo, signals
from experiments.reporting.folder import RunFolder
from experiments.transcripts import AttemptRecord, GroupRecord, StepRecord, summed

_UPDATES = 12
_EVALUATED = 30
_CHARACTERS = 3_000

TITLES = {"finestep": "FineStep", "grpo": "GRPO"}
"""The two algorithms that every group is shown with, and what they are called."""


def browser_data(folder: RunFolder) -> list[dict[str, Any]]:
    """Sources (updates, evaluations) with their groups, as plain JSON values.

    Of many updates 12 are taken, evenly, the first and the last among them; of an evaluation the
    first 30 tasks. Long texts are cut, with the cut said.
    """
    updates = list(folder.updates())
    sources = [
        _source(f"update {number}", groups, folder.config)
        for number, groups in (updates[place] for place in evenly(len(updates), _UPDATES))
    ]
    for name in ("before", "after"):
        groups = folder.attempts(name)[:_EVALUATED]
        if groups:
            sources.append(_source(f"evaluation {name}", groups, folder.config))
    return sources


def evenly(count: int, most: int) -> list[int]:
    """At most `most` (at least 2) of the places below `count`, evenly, with both ends."""
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def embedded(data: Any) -> str:
    """JSON that can stand in a ``<script>`` of a page: no ``<``, ``>``, ``&`` or line separator."""
    text = json.dumps(data, ensure_ascii=True)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _source(
    name: str, groups: Sequence[GroupRecord], config: Mapping[str, Any]
) -> dict[str, Any]:
    return {"name": name, "groups": [_group(group, config) for group in groups]}


def _group(group: GroupRecord, config: Mapping[str, Any]) -> dict[str, Any]:
    attempts = [_attempt("greedy", group.greedy)] if group.greedy else []
    kind = "sampled" if group.greedy else "attempt"
    attempts += [_attempt(f"{kind} {n}", one) for n, one in enumerate(group.attempts, start=1)]
    return {
        "task": group.task_id,
        "database": group.database_id,
        "question": group.question,
        "difficulty": group.difficulty,
        "gold": list(group.gold_sql),
        "attempts": attempts,
        "credit": dict(_credits(group, config, shift=1 if group.greedy else 0)),
    }


def _credits(
    group: GroupRecord, config: Mapping[str, Any], shift: int
) -> Iterator[tuple[str, list[list[float]]]]:
    """Credit per step by algorithm. The greedy attempt stands before the group and has none."""
    whole = [attempt for attempt in group.attempts if attempt.steps]
    if len(whole) < 2 or len(whole) < len(group.attempts):
        return
    empty: list[list[float]] = [[]] * shift
    rewards = signals(
        [sum(step.outcome_reward for step in attempt.steps) for attempt in whole],
        [[step.process_reward for step in attempt.steps] for attempt in whole],
    )
    trained = str(config.get("estimator", ""))
    for name, estimator in _estimators(config).items():
        given = group.credit if name == trained and group.credit else summed(estimator(rewards))
        yield TITLES[name], empty + [_rounded(steps) for steps in given]
    if trained not in TITLES and group.credit:
        yield f"{trained} (trained)", empty + [_rounded(steps) for steps in group.credit]


def _estimators(config: Mapping[str, Any]) -> dict[str, Estimator]:
    """FineStep as the run is configured, and GRPO."""
    names = ("norm", "lam", "gamma", "alpha")
    fine: Any = {name: config[name] for name in names if name in config}
    return {"finestep": FineStep(**fine), "grpo": Grpo()}


def _attempt(name: str, attempt: AttemptRecord) -> dict[str, Any]:
    return {
        "name": name,
        "outcome": attempt.outcome,
        "ended": attempt.ended,
        "steps": [_step(step) for step in attempt.steps],
    }


def _step(step: StepRecord) -> dict[str, Any]:
    return {
        "text": _cut(step.text),
        "result": _cut(step.result),
        "kind": step.call_outcome,
        "tool": step.tool,
        "redundant": step.redundant,
        "outcome": step.outcome_reward,
        "process": step.process_reward,
        "terms": dict(step.reward_terms),
        "tokens": step.tokens,
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]


def _cut(text: str) -> str:
    if len(text) <= _CHARACTERS:
        return text
    return f"{text[:_CHARACTERS]}\n...(+{len(text) - _CHARACTERS} characters)"

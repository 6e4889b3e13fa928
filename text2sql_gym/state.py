"""The state of an episode as text: what was done, and by what to tell that it was done again.

A state names the task and holds every action so far; putting an environment into it means taking
these turns again, from the same frozen parts, with statements that are answered alike each time. A
turn that failed carries its answer instead, so that what the wall clock stopped stays stopped. A
digest over all answers and rewards says whether the same episode came out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from text2sql_gym.errors import StateError
from text2sql_gym.types import CallOutcome, EpisodeOutcome, Task, ToolResult

FORMAT = "Text2SQL-v0 state 1"


@dataclass(frozen=True)
class Trail:
    """What happened since `reset`; grows by one line a turn, linear in the length of the actions.

    `text` is the head and a line per turn, `digest` the chained hash of all that came back.
    """

    text: str
    digest: str

    @classmethod
    def begun(cls, task: Task, settings: Mapping[str, str], observation: str) -> Trail:
        """Return the trail of an episode that has just been reset."""
        head = json.dumps([FORMAT, task.task_id, {"task": _of_task(task), **settings}])
        return cls(head, _chained("", head, observation))

    def after(
        self,
        action: str,
        result: ToolResult,
        outcome: EpisodeOutcome,
        observation: str,
        reward: float,
    ) -> Trail:
        """Return the trail with one more turn."""
        line = f"[{_quoted(action)}]"
        if result.error is not None and result.table is None and not result.views:
            failed = (result.outcome, result.text, result.error, result.final)
            line = json.dumps((action, *failed))
        digest = _chained(self.digest, line, f"{outcome}\0{reward!r}\0{observation}")
        return Trail(f"{self.text}\n{line}", digest)

    @property
    def state(self) -> str:
        """The whole as one text: lines of JSON and the digest, ASCII only."""
        return f"{self.text}\n{self.digest}"


@dataclass(frozen=True)
class RecordedTurn:
    """One turn of a state; `result` is None where the call has to be made again."""

    action: str
    result: ToolResult | None = None


@dataclass(frozen=True)
class Recorded:
    """A state that was read: the task, the settings it was made under, the turns, the digest."""

    task_id: str
    settings: Mapping[str, str]
    turns: tuple[RecordedTurn, ...]
    digest: str

    def check(self, task: Task, settings: Mapping[str, str]) -> None:
        """Raise `StateError` naming what differs from the environment that made the state."""
        here = {"task": _of_task(task), **settings}
        if other := [name for name in here if self.settings.get(name) != here[name]]:
            raise StateError(
                f"options: the state was made under another {' and another '.join(other)}"
                f" (task {self.task_id!r}); expected one made under the settings of this one"
            )


def read_state(state: str) -> Recorded:
    """Read what `Trail.state` wrote. Raises `StateError` for anything else."""
    if not isinstance(state, str) or not state.startswith(f'["{FORMAT}"'):
        got = repr(state)[:60]
        raise StateError(f"options: expected a state as in info['state'] ({FORMAT}), got {got}")
    try:
        head, *lines, digest = state.split("\n")
        _, task_id, settings = json.loads(head)
        return Recorded(task_id, dict(settings), tuple(map(_turn, lines)), digest)
    except (ValueError, TypeError) as error:
        raise StateError(f"options: the state is damaged: {error}") from error


def fingerprint(part: Any) -> str:
    """Return eight characters that tell one setting from another, the same in every process.

    Records differ by their fields; functions and objects that are no records, by their names.
    """
    return blake2b(_described(part).encode(), digest_size=4).hexdigest()


def _turn(line: str) -> RecordedTurn:
    action, *told = json.loads(line)
    if not isinstance(action, str):
        raise ValueError(f"expected an action, got {action!r}")
    if not told:
        return RecordedTurn(action)
    outcome, text, error, final = told
    result = ToolResult(text, CallOutcome(outcome), error=error, final=final)
    return RecordedTurn(action, result)


def _chained(digest: str, line: str, came_back: str) -> str:
    text = f"{digest}{line}\n{came_back}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


@lru_cache(maxsize=4096)
def _of_task(task: Task) -> str:
    """The task without the place of its database, which differs between machines."""
    return fingerprint(replace(task, database=""))


def _described(part: Any) -> str:
    if is_dataclass(part) and not isinstance(part, type):
        return _name(part) + _described(
            {field.name: getattr(part, field.name) for field in fields(part)}
        )
    if isinstance(part, Mapping):
        return repr([(str(key), _described(value)) for key, value in part.items()])
    if isinstance(part, (tuple, list)):
        return repr([_described(value) for value in part])
    if isinstance(part, (set, frozenset)):
        return repr(sorted(_described(value) for value in part))
    return repr(part) if isinstance(part, (str, int, float, bool, type(None))) else _name(part)


def _name(part: Callable[..., Any] | object) -> str:
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}.{named.__qualname__}"

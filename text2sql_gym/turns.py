"""Turns of many environments under way at once, in one thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from text2sql_gym.backends.beside import Answers, Asked, Pending
from text2sql_gym.env import Text2SQLEnv


class Answer(NamedTuple):
    """What `step` returns, with the index of its environment; a reset has the reward 0.0."""

    env_id: int
    observation: str
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]

    @property
    def ended(self) -> bool:
        """Whether the episode is over."""
        return self.terminated or self.truncated


@dataclass
class _Turn:
    env: Text2SQLEnv
    work: Callable[[], Answer]
    answers: Answers


class Turns:
    """At most one turn per environment, each at its own pace.

    A turn whose statements are light is over when `begin` returns. One that needs a worker process
    is put aside; the worker's answer takes it on in the next `finish`. Everything but the
    statements runs in the caller's thread. Pickled with turns under way, the copy begins them anew.
    """

    def __init__(self) -> None:
        self._running: dict[int, _Turn] = {}
        self._over: list[tuple[int, Answer | Exception]] = []
        self._answered: SimpleQueue[int] = SimpleQueue()
        self._asked: Asked = WeakValueDictionary()

    @property
    def indices(self) -> list[int]:
        """The environments whose turn was begun and not yet taken."""
        return sorted([*self._running, *(index for index, _ in self._over)])

    def step(self, index: int, env: Text2SQLEnv, action: str) -> None:
        """Begin a step of `env`."""
        self.begin(index, env, partial(_stepped, index, env, action))

    def begin(self, index: int, env: Text2SQLEnv, work: Callable[[], Answer]) -> None:
        """Begin a turn: `work` steps or resets `env`, and may be called several times."""
        self._running[index] = _Turn(env, work, Answers(env.limits, self._asked))
        self._go_on(index)

    def take(self, *, wait: bool) -> list[tuple[int, Answer | Exception]]:
        """Take the turns that are over, in the order of their ends; one that failed is its error.

        With `wait`, at least one if any was begun.
        """
        while not self._answered.empty() or (wait and self._running and not self._over):
            self._go_on(self._answered.get())
        over, self._over = self._over, []
        return over

    def finish(self) -> dict[int, Answer]:
        """Take all turns when all are over; raises the first error then."""
        over: list[tuple[int, Answer | Exception]] = []
        while self.indices:
            over += self.take(wait=True)
        for _, answer in over:
            if isinstance(answer, Exception):
                raise answer
        return {index: answer for index, answer in over if isinstance(answer, Answer)}

    def put_back(self, over: list[tuple[int, Answer | Exception]]) -> None:
        """Return what was taken, to be the next that is taken."""
        self._over = [*over, *self._over]

    def drop(self) -> None:
        """Forget all turns; statements that wait for a worker are not run."""
        for turn in self._running.values():
            turn.answers.cancel()
        self.__init__()  # type: ignore[misc]

    def _go_on(self, index: int) -> None:
        turn = self._running[index]
        try:
            self._over.append((index, turn.env.attempt(turn.work, turn.answers)))
        except Pending as pending:
            answered = self._answered
            pending.statement.add_done_callback(lambda _: answered.put(index))
            return
        except Exception as error:  # the caller's to see, when it takes the turn
            error.add_note(f"in environment {index} of the vector")
            self._over.append((index, error))
        del self._running[index]

    def __getstate__(self) -> dict[str, Any]:
        """Nothing a turn did before its end can be seen: a copy begins it again."""
        begun = {index: (turn.env, turn.work) for index, turn in self._running.items()}
        return {"begun": begun, "over": self._over}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self._over = state["over"]
        for index, (env, work) in state["begun"].items():
            self._running[index] = _Turn(env, work, Answers(env.limits, self._asked))
            self._answered.put(index)


def _stepped(index: int, env: Text2SQLEnv, action: str) -> Answer:
    return Answer(index, *env.step(action))

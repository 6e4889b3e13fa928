"""Statements beside other work: a computation stops where it needs an answer, and is tried again.

A turn asks for its statements one after the other, deep inside tools and matchers. With a `Beside`
in place of its database it stops at the first statement that takes long, with `Pending`, and its
thread may serve another episode. When the statement is answered the turn is tried from its start:
it gets the answers it had and goes on to the next statement. That is right for any computation
that changes nothing and asks for the same statements every time, as tools, matchers and rewards do.
"""

from __future__ import annotations

from collections.abc import Hashable, MutableMapping
from concurrent.futures import Future

from text2sql_gym.backends.base import Backend
from text2sql_gym.types import Limits, Schema, Table

Asked = MutableMapping[Hashable, "Future[Table]"]
"""Statements that somebody has asked for, by all that their answer depends on."""


class Answers:
    """What one turn has asked for so far; `shared` holds what other turns are waiting for.

    The attempts of a group often ask the same at the same time, their gold first of all: one of
    them has it run, and all have the answer. Turns that share must run under equal `limits`.
    """

    def __init__(self, limits: Limits, shared: Asked | None = None) -> None:
        self._limits = limits
        self._shared: Asked = {} if shared is None else shared
        self._own: dict[Hashable, Future[Table]] = {}

    def ask(self, database: Backend, sql: str, max_rows: int) -> Future[Table]:
        """Return the answer that is there or awaited, or have the statement run."""
        key = (database.url, sql, max_rows, self._limits)
        asked = self._own.get(key) or self._shared.get(key)
        if asked is None:
            asked = database.submit(sql, max_rows=max_rows)
        self._own[key] = self._shared[key] = asked
        return asked

    def cancel(self) -> None:
        """Give up the statements that no worker has begun."""
        for statement in self._own.values():
            statement.cancel()


class Pending(BaseException):
    """A statement is not answered yet. No `Exception`: nobody but the scheduler may catch it."""

    def __init__(self, statement: Future[Table]) -> None:
        super().__init__("a statement is not answered yet")
        self.statement = statement


class Beside:
    """A database as one turn sees it that does not wait for long statements."""

    def __init__(self, database: Backend, answers: Answers) -> None:
        self.database, self.answers = database, answers

    @property
    def url(self) -> str:
        """Where the database is."""
        return self.database.url

    def schema(self) -> Schema:
        """Return tables and views in declared order."""
        return self.database.schema()

    def execute(self, sql: str, *, max_rows: int) -> Table:
        """Run one SELECT; raises `Pending` when it takes long and was not answered before."""
        statement = self.answers.ask(self.database, sql, max_rows)
        if not statement.done():
            raise Pending(statement)
        return statement.result()

    def submit(self, sql: str, *, max_rows: int) -> Future[Table]:
        """Run one SELECT beside others."""
        return self.database.submit(sql, max_rows=max_rows)

    def close(self) -> None:
        """Leave the database to whoever opened it."""


def plain(database: Backend) -> Backend:
    """Return the database itself, which waits for its answers."""
    return database.database if isinstance(database, Beside) else database

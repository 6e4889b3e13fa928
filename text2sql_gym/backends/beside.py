"""Statements beside other work: a computation stops where it needs an answer, and is tried again.

A turn asks for its statements one after the other, deep inside tools and matchers. With a `Beside`
in place of its database it stops at the first statement that takes long, with `Pending`, and its
thread may serve another episode. When the statement is answered the turn is tried from its start:
it gets the answers it had and goes on to the next statement. That is right for any computation
that changes nothing and asks for the same statements every time, as tools, matchers and rewards do.
"""

from __future__ import annotations

from concurrent.futures import Future

from text2sql_gym.backends.base import Backend
from text2sql_gym.types import Schema, Table

Answers = dict[tuple[str, str, int], Future[Table]]
"""What one turn has asked for so far, by database, statement and number of rows."""


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
        key = (self.url, sql, max_rows)
        if key not in self.answers:
            self.answers[key] = self.database.submit(sql, max_rows=max_rows)
        if not self.answers[key].done():
            raise Pending(self.answers[key])
        return self.answers[key].result()

    def submit(self, sql: str, *, max_rows: int) -> Future[Table]:
        """Run one SELECT beside others."""
        return self.database.submit(sql, max_rows=max_rows)

    def close(self) -> None:
        """Leave the database to whoever opened it."""


def plain(database: Backend) -> Backend:
    """Return the database itself, which waits for its answers."""
    return database.database if isinstance(database, Beside) else database

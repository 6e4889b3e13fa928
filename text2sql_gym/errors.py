"""Whose fault an error is: the policy's (`ToolError`) or ours (`EnvironmentFault`)."""

from __future__ import annotations

from text2sql_gym.types import CallOutcome


class Text2SQLError(Exception):
    """Base class of every error this package raises on purpose."""


class ToolError(Text2SQLError):
    """The policy made a mistake. The environment turns it into an observation.

    `outcome` says which kind of mistake it was; never `CallOutcome.OK`.
    """

    def __init__(self, message: str, outcome: CallOutcome = CallOutcome.SQL_ERROR) -> None:
        super().__init__(message)
        self.outcome = outcome


class EnvironmentFault(Text2SQLError):
    """The environment is at fault: a missing file, a broken gold query, a dead worker.

    It is raised to the caller of `reset` or `step`; it never becomes an observation or a reward.
    """


class GoldError(EnvironmentFault):
    """A gold query failed, or its result is larger than what may be compared.

    Nothing can be right or wrong against it, so it never becomes a reward.
    """


class DatasetError(EnvironmentFault):
    """A data set is missing or broken; the message names the path and what was expected there."""


class StateError(Text2SQLError, ValueError):
    """A state does not belong to this environment, or what it tells did not happen again."""


class UnknownName(Text2SQLError, LookupError):
    """A name is not in a registry; the message suggests the nearest one that is."""

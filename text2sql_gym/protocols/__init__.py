"""The protocols, by name. A protocol is a frozen dataclass; its fields are `protocol_options`."""

from __future__ import annotations

from collections.abc import Callable

from text2sql_gym.protocols.base import AgentProtocol, Message
from text2sql_gym.protocols.finestep import FineStep

PROTOCOLS: dict[str, Callable[..., AgentProtocol]] = {
    "finestep": FineStep,
}

__all__ = ["PROTOCOLS", "AgentProtocol", "Message"]

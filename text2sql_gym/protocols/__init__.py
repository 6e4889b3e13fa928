"""The protocols, by name. A protocol is a frozen dataclass; its fields are `protocol_options`."""

from __future__ import annotations

from collections.abc import Callable

from text2sql_gym.protocols.base import AgentProtocol, Message
from text2sql_gym.protocols.chat import Chat
from text2sql_gym.protocols.cocte import CoCte
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.protocols.reex import ReEx
from text2sql_gym.protocols.trust_sql import TrustSql

PROTOCOLS: dict[str, Callable[..., AgentProtocol]] = {
    "finestep": FineStep,
    "trust_sql": TrustSql,
    "reex": ReEx,
    "cocte": CoCte,
    "chat": Chat,
}

__all__ = ["PROTOCOLS", "AgentProtocol", "Message"]

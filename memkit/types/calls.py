"""Calls of tools: what a model wants to be done, and the conversation that they are part of."""

from __future__ import annotations

from dataclasses import dataclass

from memkit.types.records import Role
from memkit.types.value import Value


@dataclass(frozen=True)
class ToolCall(Value):
    """A call that a model has written.

    Attributes:
        name: Of the tool.
        arguments: A JSON object, as text.
        id: Tells the calls of a conversation apart; what the tool gives back names it.
    """

    name: str
    arguments: str
    id: str


@dataclass(frozen=True)
class ChatTurn:
    """A message of a conversation in which tools are called.

    Attributes:
        calls: What the assistant wants to be done.
        call_id: Of the call whose result this is; None if it is none.
        name: Of the tool whose result this is; None if it is not known.
    """

    role: Role
    content: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    name: str | None = None

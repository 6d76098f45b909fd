"""A conversation of a memory as LangChain's older chat message history.

LangChain deprecates these classes; new agents remember with LangGraph's stores and checkpointers,
or with this package's middleware and tools.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_memkit.messages import role_of, text_of
from memkit import InvalidInputError, Memory, Turn
from memkit.types import Role, Scope

ALL = 2**31  # turns: more than any conversation has

_KINDS: dict[Role, Callable[..., BaseMessage]] = {
    "user": HumanMessage,
    "assistant": AIMessage,
    "system": SystemMessage,
}


class MemkitChatMessageHistory(BaseChatMessageHistory):
    """The turns of one conversation: roles and texts; other parts of a message are not stored.

    Args:
        memory: An open memory.
        scope: The conversation, e.g. ``{"user": "u1", "session": "s7"}``.
        remember: Whether the messages become records as well, so that searches find them.

    Raises:
        InvalidInputError: If the scope is empty: it would be everybody's conversation.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> with Memory.open(folder, backends=["buffer"]) as memory:
        ...     history = MemkitChatMessageHistory(memory, {"session": "s7"})
        ...     history.add_user_message("When does the gate open?")
        ...     history.messages[0].text
        'When does the gate open?'
    """

    def __init__(self, memory: Memory, scope: Scope, *, remember: bool = True) -> None:
        if not scope:
            raise InvalidInputError(
                f"expected the `scope` of a conversation, got {scope!r}",
                hint='for example {"user": "u1", "session": "s7"}',
            )
        self.memory = memory
        self.scope = scope
        self.remember = remember

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # others do it, too
        """All messages, the oldest first."""
        return [_message(turn) for turn in self.memory.turns(scope=self.scope, limit=ALL)]

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages.

        Raises:
            InvalidInputError: If one holds something else than text, such as a tool call; then
                none is added.
        """
        turns = [(_checked_role(message), text_of(message)) for message in messages]
        for role, text in turns:
            self.memory.add_turn(role, text, scope=self.scope, remember=self.remember)

    def clear(self) -> None:
        """Erase the conversation, and all records of its scope, for good."""
        self.memory.forget(scope=self.scope)


def _checked_role(message: BaseMessage) -> Role:
    if isinstance(message, ToolMessage) or getattr(message, "tool_calls", None):
        raise InvalidInputError(
            f"expected a message of text, got {type(message).__name__} of a tool call",
            hint="tool calls belong into a checkpointer of LangGraph",
        )
    return cast("Role", role_of(message))  # the memory refuses others


def _message(turn: Turn) -> BaseMessage:
    if turn.role in _KINDS:
        return _KINDS[turn.role](content=turn.content, id=turn.id)
    return ChatMessage(role=turn.role, content=turn.content, id=turn.id)

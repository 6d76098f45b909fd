"""A conversation of a memory as LangChain's older chat message history.

LangChain deprecates these classes; new agents remember with LangGraph's stores and checkpointers,
or with this package's middleware and tools.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from langchain_memkit.messages import role_of, said_in, words_of
from langchain_memkit.open_memory import check_memory
from memkit import InvalidInputError, Memory, Turn
from memkit.ledger.turns.turn_table import check_turn
from memkit.types import Role, Scope, TurnDraft
from memkit.types.validate import check_flag, shown
from memkit.types.validate.descriptions import describe

ALL = 2**31  # turns: more than any conversation has

_KINDS: dict[Role, Callable[..., BaseMessage]] = {
    "user": HumanMessage,
    "assistant": AIMessage,
    "system": SystemMessage,
}
_log = logging.getLogger(__name__)


class MemkitChatMessageHistory(BaseChatMessageHistory):
    """The turns of one conversation: roles, names and texts.

    Of images and the like, "[image]" is kept. Messages that say nothing, such as a model's that
    only calls tools, are not. A result of a tool is kept, and comes back behind a call without
    arguments, as models demand one; a checkpointer of LangGraph keeps calls as they were.

    Args:
        memory: An open memory.
        scope: The conversation, e.g. ``{"user": "u1", "session": "s7"}``.
        remember: Whether what user and model say becomes records as well, so that searches find
            it.

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
        check_memory(memory)
        check_flag("remember", remember)
        if not scope:
            raise InvalidInputError(
                f"expected the `scope` of a conversation, got {shown(scope)}",
                hint='for example {"user": "u1", "session": "s7"}',
            )
        self.memory = memory
        self.scope = scope
        self.remember = remember

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # others do it, too
        """All messages, the oldest first."""
        turns = self.memory.turns(scope=self.scope, limit=ALL)
        return [message for turn in turns for message in _messages(turn)]

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages, all or none.

        Raises:
            InvalidInputError: If memkit has no role for the author of one, or cannot store its
                text; the error says which.
        """
        if isinstance(messages, str | bytes) or not isinstance(messages, Iterable):
            raise InvalidInputError(f"`messages` must be a list, got {describe(messages)}")
        messages = list(messages)
        turns = [
            turn
            for place, message in enumerate(messages)
            if (turn := self._turn(place, message)) is not None
        ]
        if len(turns) < len(messages):
            _log.info("left out %d messages that say nothing", len(messages) - len(turns))
        self.memory.add_turns(turns, scope=self.scope)

    def clear(self) -> None:
        """Erase the conversation, and all records of its scope, for good."""
        self.memory.forget(scope=self.scope)

    def _turn(self, place: int, message: BaseMessage) -> TurnDraft | None:
        """The turn of a message; None if it says nothing."""
        if not isinstance(message, BaseMessage):
            raise InvalidInputError(
                f"message {place} must be a message of LangChain, got {describe(message)}",
                hint='for example HumanMessage("Hello")',
            )
        try:
            role, said = role_of(message), said_in(message)
            if not said.strip():
                return None
            check_turn(role, said)
        except InvalidInputError as exc:
            about = f"message {place}, {type(message).__name__}"
            raise InvalidInputError(f"{about}: {exc.message}", exc.hint) from exc
        remember = self.remember and bool(words_of(message).strip())
        return TurnDraft(role, said, name=message.name or None, remember=remember)


def _messages(turn: Turn) -> Iterator[BaseMessage]:
    """The message of a turn; before what a tool returned, the call that it answers."""
    if turn.role == "tool":
        name = turn.name or "tool"
        yield AIMessage("", tool_calls=[ToolCall(name=name, args={}, id=turn.id)])
        yield ToolMessage(turn.content, name=name, tool_call_id=turn.id, id=turn.id)
    else:
        yield _KINDS[turn.role](content=turn.content, name=turn.name, id=turn.id)

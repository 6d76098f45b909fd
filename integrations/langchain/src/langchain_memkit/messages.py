"""LangChain messages as memkit's, which are text with a role."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage, ChatMessage

from memkit import InvalidInputError

_ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool"}


def conversation_of(messages: Sequence[BaseMessage]) -> list[dict[str, str]]:
    """Give roles and texts, as `memkit.Memory.ask` takes them.

    Raises:
        InvalidInputError: If a message holds something else than text, or memkit has no role for
            it.
    """
    return [{"role": role_of(message), "content": text_of(message)} for message in messages]


def role_of(message: BaseMessage) -> str:
    """Give memkit's role for the author of a message.

    Raises:
        InvalidInputError: If memkit has none.
    """
    if isinstance(message, ChatMessage):
        return message.role
    kind = message.type.removesuffix("MessageChunk").lower()  # chunks of a stream
    if kind not in _ROLES:
        raise InvalidInputError(
            f"expected a system, human, AI or tool message, got {type(message).__name__}"
        )
    return _ROLES[kind]


def text_of(message: BaseMessage) -> str:
    """Give the text of a message.

    Raises:
        InvalidInputError: If there is an image or the like, which the base model cannot see.
    """
    if isinstance(message.content, list):
        blocks = [block for block in message.content if not isinstance(block, str)]
        kinds = {str(block.get("type")) for block in blocks} - {"text"}
        if kinds:
            raise InvalidInputError(f"expected a message of text, got one with {sorted(kinds)}")
    return str(message.text)

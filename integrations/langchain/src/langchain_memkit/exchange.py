"""Which messages of an agent's run are what user and agent said to each other in it."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AnyMessage, BaseMessage

from langchain_memkit.messages import known_role, said_in


def last_exchange(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Give the user's last messages and the answers to them that say something."""
    start = len(messages)
    while start > 0 and not _is_users(messages[start - 1]):
        start -= 1
    while start > 0 and _is_users(messages[start - 1]):
        start -= 1
    return [message for message in messages[start:] if _is_said(message)]


def last_asked(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Give the messages of the user that nobody has answered yet."""
    start = len(messages)
    while start > 0 and _is_users(messages[start - 1]):
        start -= 1
    return list(messages[start:])


def with_asked(messages: Sequence[AnyMessage], asked: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Put in front what the user asked if a summary has taken its place meanwhile."""
    present = {message.id for message in messages}
    return [*(message for message in asked if message.id not in present), *messages]


def _is_users(message: BaseMessage) -> bool:
    """Whether the user has said it: summaries are written in the user's name as well."""
    is_summary = message.additional_kwargs.get("lc_source") == "summarization"
    return known_role(message) == "user" and not is_summary


def _is_said(message: BaseMessage) -> bool:
    speaks = _is_users(message) or known_role(message) == "assistant"
    return speaks and bool(said_in(message).strip())

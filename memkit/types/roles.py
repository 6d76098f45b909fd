"""Who speaks: the roles of messages, under the names that others give them."""

from __future__ import annotations

from collections.abc import Mapping

from memkit.errors import InvalidInputError
from memkit.types.records import Role
from memkit.types.validate import shown

# OpenAI's names; "human" and "ai" are LangChain's, "model" is Gemini's.
ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}


def role_of(value: object, where: str = "") -> Role:
    """Give the role that a value names.

    Args:
        value: The value.
        where: Put behind it in the error.

    Raises:
        InvalidInputError: If it names none.
    """
    if not isinstance(value, str) or value not in ROLES:
        raise InvalidInputError(f"`role` must be one of {tuple(ROLES)}, got {shown(value)}{where}")
    return ROLES[value]

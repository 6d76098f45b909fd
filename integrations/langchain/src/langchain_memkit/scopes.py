"""Whose memory it is: scopes from the context that an agent runs in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from memkit.errors import InvalidInputError
from memkit.types import Scope
from memkit.types.validate import shown

# A fixed scope, or a function that reads the scope from the runtime of an agent: LangChain's
# `ToolRuntime` or LangGraph's `Runtime`; None outside of an agent.
Scoping = Scope | Callable[[Any], Scope]


def user_scope(runtime: object) -> Scope:
    """Give ``{"user": runtime.context.user_id}``; the context may be a mapping as well.

    Raises:
        InvalidInputError: If there is no such user: a user's memory must not become shared by
            accident.
    """
    context = getattr(runtime, "context", None)
    user = (
        context.get("user_id")
        if isinstance(context, Mapping)
        else getattr(context, "user_id", None)
    )
    if not isinstance(user, str) or not user.strip():
        raise InvalidInputError(
            f"expected a `user_id` in the runtime context, got the context {shown(context)}",
            hint='invoke the agent with context={"user_id": "u1"}, or say whose memory it is: '
            'scope={"user": "u1"}, a function of the runtime, or {} for a shared one',
        )
    return {"user": user}


def resolve(scoping: Scoping, runtime: object) -> Scope:
    """Give the scope that holds for a call."""
    return scoping(runtime) if callable(scoping) else scoping

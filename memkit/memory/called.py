"""Calls of tools, and what they gave, in messages of OpenAI's format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from memkit.errors import InvalidInputError
from memkit.types import ChatTurn, Message, Role, ToolCall
from memkit.types.validate import describe, read_json, shown


def turn_of(place: int, message: Message, said: tuple[Role, str]) -> ChatTurn:
    """A message with the calls in it.

    Args:
        place: Of the message in its list, for errors.
        message: As OpenAI has it.
        said: Who speaks in it, and what is said.

    Raises:
        InvalidInputError: If a call is malformed.
    """
    calls = message.get("tool_calls") or ()
    if not isinstance(calls, list | tuple):
        raise InvalidInputError(
            f"`tool_calls` of message {place} must be a list, got {describe(calls)}"
        )
    role, content = said
    about = [message.get(part) for part in ("tool_call_id", "name")]
    call_id, name = (part if isinstance(part, str) else None for part in about)
    return ChatTurn(role, content, tuple(_call(place, call) for call in calls), call_id, name)


def check_results(turns: Sequence[ChatTurn]) -> None:
    """Check that every result of a tool names a call that was made before it.

    Raises:
        InvalidInputError: If one does not: the model would take it for another call's.
    """
    made: set[str] = set()
    for turn in turns:
        made.update(call.id for call in turn.calls)
        if turn.role == "tool" and turn.call_id not in made:
            raise InvalidInputError(
                "`tool_call_id` of a tool's message must be the `id` of a call in an earlier "
                f"message, got {shown(turn.call_id)}",
                hint="keep the assistant's message with the call before its result",
            )


def _call(place: int, call: object) -> ToolCall:
    function = call.get("function") if isinstance(call, Mapping) else None
    if isinstance(call, Mapping) and isinstance(function, Mapping):
        name, id, arguments = function.get("name"), call.get("id"), _object(function)
        if isinstance(name, str) and isinstance(id, str) and arguments is not None:
            return ToolCall(name, json.dumps(arguments, ensure_ascii=False), id)
    raise InvalidInputError(
        f"a call in message {place} must have an `id` and a `function` with a name and, as "
        f"`arguments`, a JSON object; got {describe(call)}"
    )


def _object(function: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of a call, which OpenAI gives as text; None if they are no object."""
    arguments = function.get("arguments")
    try:
        value = read_json(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return None
    return value if isinstance(value, dict) else None

"""Tools that an answer may call, as callers describe them in OpenAI's format."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from memkit.errors import InvalidInputError
from memkit.memory.schemas import closed
from memkit.types import Constraint
from memkit.types.validate import check_flag, describe, shown

Tools = Sequence[Mapping[str, Any]]
ToolChoice = str | Mapping[str, Any]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LIKE = 'like {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}'


def with_tools(
    constraint: Constraint | None,
    tools: Tools | None,
    choice: ToolChoice | None,
    *,
    several: bool | None,
) -> Constraint | None:
    """A constraint by which an answer may, or has to, call tools.

    Args:
        constraint: What an answer that calls none is held to; None if it is free.
        tools: In OpenAI's format; None or empty for none.
        choice: "auto", "none", "required" or "any", the name of a tool, or OpenAI's dict with it.
        several: Whether an answer may have several calls; None for one.

    Raises:
        InvalidInputError: If they are malformed.
    """
    if tools is not None and (isinstance(tools, str | Mapping) or not isinstance(tools, Sequence)):
        raise InvalidInputError(f"`tools` must be a list, got {describe(tools)}", hint=_LIKE)
    functions = [_function(tool) for tool in tools or ()]
    names = [name for name, _ in functions]
    if len(set(names)) < len(names):
        raise InvalidInputError(f"`tools` must have different names, got {names}")
    chosen = _choice(choice, names)
    if several is not None:
        check_flag("parallel_tool_calls", several)
    if not functions:
        return constraint
    texts = tuple(text for _, text in functions)
    return replace(constraint or Constraint(), tools=texts, choice=chosen, several=bool(several))


def _function(tool: object) -> tuple[str, str]:
    """Name and JSON of a function."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInputError(
            "each of `tools` must be a function whose name has at most 64 letters, digits, _ "
            f"and -, got {describe(tool)}",
            hint=_LIKE,
        )
    description = function.get("description") or ""
    if not isinstance(description, str):
        raise InvalidInputError(
            f"the description of tool {name!r} must be a string, got {describe(description)}"
        )
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    described = {
        "name": name,
        "description": description,
        "parameters": json.loads(closed(parameters, f"parameters of {name}")),
    }
    return name, json.dumps(described, ensure_ascii=False)


def _choice(choice: ToolChoice | None, names: Sequence[str]) -> str:
    """What `Constraint.choice` says."""
    named: object = choice
    if isinstance(choice, Mapping):
        function = choice.get("function")
        named = function.get("name") if isinstance(function, Mapping) else None
    words = {None: "auto", "auto": "auto", "none": "none", "any": "any", "required": "any"}
    if choice is None or (isinstance(choice, str) and choice in words):
        word = words[choice]
        if word != "any" or names:
            return word
    elif isinstance(named, str) and named in names:
        return named
    raise InvalidInputError(
        f"`tool_choice` must be 'auto', 'none', 'required' or one of {list(names)}, "
        f"got {shown(choice)}"
    )

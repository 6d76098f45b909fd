"""What pydantic finds wrong with a request, in words for whoever sent it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

# What pydantic puts into a place for the member of a union that it has tried.
_MEMBERS = frozenset(
    {"str", "dict", "constrained-str", "saying", "tool_calling", "tool_result", "NamedTool"}
)


def complaint(errors: Sequence[ErrorDetails]) -> tuple[str, str]:
    """The first thing that is wrong with a request; what came is not repeated.

    Args:
        errors: Of pydantic, at least one.

    Returns:
        The parameter, with dots into what is nested and empty for the whole; and what is wrong
        with it.
    """
    first = errors[0]
    place = place_of(first["loc"])
    if first["type"] not in _TYPES:
        return ".".join(place), in_words(first)
    # Of a union each member has errors; one that tells more than of another type is of the member
    # that was meant.
    tried = [error for error in errors if place_of(error["loc"])[: len(place)] == place]
    for error in tried:
        if error["type"] not in _TYPES:
            return ".".join(place_of(error["loc"])), in_words(error)
    types = dict.fromkeys(_TYPES[e["type"]] for e in tried if place_of(e["loc"]) == place)
    return ".".join(place), f"expected {' or '.join(types)}"


def place_of(location: Sequence[int | str]) -> list[str]:
    """The place of an error as the client has written it, without pydantic's own parts."""
    return [str(part) for part in location if part not in _MEMBERS and "[" not in str(part)]


def in_words(error: ErrorDetails) -> str:
    """What is wrong, in plain words."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _TYPES:
        return f"expected {_TYPES[kind]}"
    if kind in _SAID:
        return _SAID[kind](context)
    return error["msg"].removeprefix("Value error, ")


# Errors that say that another type was expected.
_TYPES: Mapping[str, str] = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "none_required": "null",
    "datetime_type": "a time such as 2026-07-28T14:30:00+02:00",
    "datetime_parsing": "a time such as 2026-07-28T14:30:00+02:00",
    "datetime_from_date_parsing": "a time such as 2026-07-28T14:30:00+02:00",
    "timezone_aware": "a time with its zone, such as 2026-07-28T14:30:00+02:00",
}


def _too_long(context: Mapping[str, Any]) -> str:
    most = context["max_length"]
    return "this is not supported, leave it out" if most == 0 else f"expected at most {most} items"


def _too_short(context: Mapping[str, Any]) -> str:
    least = context["min_length"]
    return "expected at least one item" if least == 1 else f"expected at least {least} items"


def _short_text(context: Mapping[str, Any]) -> str:
    least = context["min_length"]
    return "it must not be empty" if least == 1 else f"expected at least {least} characters"


_SAID: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "it is missing",
    "missing_argument": lambda _: "it is missing",
    "extra_forbidden": lambda _: "there is no such parameter",
    # As JSON has it.
    "literal_error": lambda context: f"expected {context['expected'].replace('False', 'false')}",
    "greater_than": lambda context: f"expected more than {context['gt']:g}",
    "greater_than_equal": lambda context: f"expected {context['ge']:g} or more",
    "less_than": lambda context: f"expected less than {context['lt']:.0f}",
    "less_than_equal": lambda context: f"expected {context['le']:g} or less",
    "too_long": _too_long,
    "too_short": _too_short,
    "string_too_short": _short_text,
}

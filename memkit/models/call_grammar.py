"""What may be said where tools can be called, as a grammar for the decoder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from memkit.models.tool_template import CallFormat
from memkit.types import Constraint

MOST_CALLS = 8  # in one answer: a small model may not know when to stop

# JSON as Python's `json` writes it, and no other blanks: a model could write them forever.
WRITTEN = {
    "whitespace_flexible": False,
    "whitespace_pattern": None,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": False,
    "coerce_one_of": False,
}
_ANY = "(?s:.*)"


def grammar(constraint: Constraint, calls: CallFormat, special: Mapping[str, int]) -> str:
    """A grammar in Lark's notation, as llguidance reads it.

    Args:
        constraint: With tools.
        calls: How the model writes calls.
        special: The model's special tokens, which stand in a grammar by their ids.
    """
    functions = [json.loads(function) for function in constraint.tools]
    called = [each for each in functions if constraint.choice in {"any", "auto", each["name"]}]
    said = "TEXT" if constraint.schema is None else "json"
    lines = []
    if constraint.choice == "none" or not called:
        lines.append(f"start: {said}")
    elif constraint.choice == "auto":
        before = "TEXT? " if calls.marker and said == "TEXT" else ""
        lines.append(f"start: {said} | {before}calls")
    else:
        lines.append("start: calls")
    if constraint.schema is not None:
        lines.append(f"json: %json {_strict(json.loads(constraint.schema))}")
    lines.append(f"TEXT: {_text(calls, special)}")
    if called:
        parts = [*_literals(calls.opening, special), "call"]
        if calls.between is not None and constraint.several:
            between = " ".join(_literals(calls.between, special))
            parts.append(f"({between} call){{0,{MOST_CALLS - 1}}}")
        lines.append(f"calls: {' '.join([*parts, *_literals(calls.closing, special)])}")
        lines.append(f"call: {' | '.join(f'call_{number}' for number in range(len(called)))}")
    for number, function in enumerate(called):
        middle = " ".join(_literals(calls.middle, special))
        arguments = _strict(function["parameters"])
        lines.append(f"call_{number}: {json.dumps(function['name'])} {middle} %json {arguments}")
    return "\n".join(lines) + "\n"


def _text(calls: CallFormat, special: Mapping[str, int]) -> str:
    """What is no call: free text in which none begins."""
    if calls.marker in special:  # a text does not hold a special token
        return "/(?s:.+)/"
    begun = f"{_ANY}{_regex(calls.marker)}" if calls.marker else _regex(calls.opening)
    return f"/(?s:.+)/ & ~/{begun}{_ANY}/"


def _literals(text: str, special: Mapping[str, int]) -> Iterator[str]:
    """A text as the terminals of a grammar."""
    names = sorted(special, key=len, reverse=True)
    for piece in re.split("|".join(map(re.escape, [CallFormat.ID, *names])).join("()"), text):
        if piece == CallFormat.ID:
            yield "/[0-9A-Za-z]{9}/"
        elif piece in special:
            yield f"<[{special[piece]}]>"
        elif piece:
            yield json.dumps(piece, ensure_ascii=False)


def _regex(text: str) -> str:
    return re.escape(text).replace("/", "\\/").replace("\n", "n")


def _strict(schema: dict[str, object]) -> str:
    return json.dumps({**schema, "x-guidance": WRITTEN}, ensure_ascii=False)

"""Scopes as callers write them."""

from __future__ import annotations

from collections.abc import Mapping

from memkit.errors import InvalidInputError
from memkit.types.validate.descriptions import describe, shown
from memkit.types.validate.strings import MAX_ID_CHARACTERS, check_characters

MAX_KEYS = 6  # a query sees 2^6 = 64 scopes at most

_HINT = 'A scope is a small dict of strings, e.g. {"user": "u1", "session": "s7"}.'


def check_scope(scope: object) -> dict[str, str]:
    """Check that a scope is a small mapping of short strings; give it in normal form.

    Raises:
        InvalidInputError: If not, or if two of its keys have the same normal form.
    """
    if not isinstance(scope, Mapping):
        raise InvalidInputError(f"`scope` must be a mapping, got {describe(scope)}", _HINT)
    if len(scope) > MAX_KEYS:
        raise InvalidInputError(
            f"`scope` must have at most {MAX_KEYS} keys, got {len(scope)}",
            "Keep what decides who may see a record; put the rest into `metadata`.",
        )
    checked: dict[str, str] = {}
    for key, value in scope.items():
        for part in (key, value):
            if not isinstance(part, str) or not part.strip():
                raise InvalidInputError(
                    "keys and values of `scope` must be non-empty strings, got "
                    f"{shown(key)}: {shown(value)}",
                    _HINT,
                )
        name, label = (check_characters("scope", part) for part in (key, value))
        if max(len(name), len(label)) > MAX_ID_CHARACTERS:
            raise InvalidInputError(
                f"keys and values of `scope` must have at most {MAX_ID_CHARACTERS} characters, "
                f"got {shown(key)}: {shown(value)}",
                "Take a shorter one, such as a hash of it.",
            )
        if name in checked:
            raise InvalidInputError(
                f"keys of `scope` must differ in Unicode normal form C, got {shown(name)} twice",
                _HINT,
            )
        checked[name] = label
    return checked

"""Scopes: who a record is for, and which records a query may see.

A query sees a record exactly if its scope has every key of the record's scope with the same
value: records without a scope are shared, and a query without one sees only these. A scope is
stored as JSON, its key. A query may see the 2^n subsets of its own scope, so that "visible"
becomes ``scope IN (...)`` in SQL.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations

from memkit.errors import InvalidInputError
from memkit.types.records import Scope
from memkit.types.validate import check_characters

MAX_KEYS = 6  # a query sees 2^6 = 64 scopes at most

_HINT = 'A scope is a small dict of strings, e.g. {"user": "u1", "session": "s7"}.'


def scope_key(scope: Scope) -> str:
    """Give the text under which a scope is stored: JSON with sorted keys, no spaces.

    Raises:
        InvalidInputError: If ``scope`` is not a mapping of non-empty strings to non-empty
            strings, or has more than six keys.

    Example:
        >>> scope_key({"user": "u1", "session": "s7"})
        '{"session":"s7","user":"u1"}'
    """
    if not isinstance(scope, Mapping):
        raise InvalidInputError(f"`scope` must be a mapping, got {scope!r}", _HINT)
    if len(scope) > MAX_KEYS:
        raise InvalidInputError(
            f"`scope` must have at most {MAX_KEYS} keys, got {len(scope)}",
            "Keep what decides who may see a record; put the rest into `metadata`.",
        )
    for key, value in scope.items():
        for part in (key, value):
            if not isinstance(part, str) or not part.strip():
                raise InvalidInputError(
                    f"keys and values of `scope` must be non-empty strings, got {key!r}: {value!r}",
                    _HINT,
                )
            check_characters("scope", part)
    return _dump(dict(scope))


def parse_scope_key(key: str) -> dict[str, str]:
    """Turn the key of a scope back into the scope."""
    scope: dict[str, str] = json.loads(key)
    return scope


def visible_keys(scope: Scope) -> list[str]:
    """List the keys of all scopes that a query of ``scope`` sees, ``"{}"`` first."""
    whole = parse_scope_key(scope_key(scope)).items()
    return [_dump(dict(p)) for size in range(len(whole) + 1) for p in combinations(whole, size)]


def contains(scope: Scope | str, selector: Scope) -> bool:
    """Tell whether a scope, or its key, has every key of ``selector`` with the same value."""
    whole = parse_scope_key(scope) if isinstance(scope, str) else scope
    return all(whole.get(key) == value for key, value in selector.items())


def _dump(scope: Mapping[str, str]) -> str:
    return json.dumps(scope, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

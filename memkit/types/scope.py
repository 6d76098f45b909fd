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

from memkit.types.records import Scope
from memkit.types.validate import check_scope


def scope_key(scope: Scope) -> str:
    """Give the text under which a scope is stored: JSON with sorted keys, no spaces.

    Raises:
        InvalidInputError: See `memkit.types.validate.scopes.check_scope`.

    Example:
        >>> scope_key({"user": "u1", "session": "s7"})
        '{"session":"s7","user":"u1"}'
    """
    return _dump(check_scope(scope))


def parse_scope_key(key: str) -> dict[str, str]:
    """Turn the key of a scope back into the scope."""
    scope: dict[str, str] = json.loads(key)
    if not isinstance(scope, dict):  # a damaged file may have anything
        raise TypeError
    return scope


def visible_keys(scope: Scope) -> list[str]:
    """List the keys of all scopes that a query of ``scope`` sees, ``"{}"`` first."""
    whole = parse_scope_key(scope_key(scope)).items()
    return [_dump(dict(p)) for size in range(len(whole) + 1) for p in combinations(whole, size)]


def contains(scope: Scope | str, selector: Scope) -> bool:
    """Tell whether a scope, or its key, has every key of ``selector`` with the same value."""
    whole = parse_scope_key(scope) if isinstance(scope, str) else check_scope(scope)
    return check_scope(selector).items() <= whole.items()


def _dump(scope: Mapping[str, str]) -> str:
    return json.dumps(scope, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

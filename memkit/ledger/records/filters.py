"""The metadata filter language, as SQL and as plain Python.

    {"source": "hr"}                                 a key equals a value
    {"year": {"$gte": 2020, "$lt": 2024}}            operators; all of them must hold
    {"author.name": {"$in": ["Ada", "Grace"]}}       a dot reaches into nested objects
    {"$or": [{"draft": {"$exists": False}}, {"$not": {"draft": True}}]}

Values are compared by JSON type: numbers with numbers, strings with strings (by code point),
and true is not 1. ``$ne`` is the negation of ``$eq``, so it holds for a missing key; all other
comparisons fail for a missing key. Lists and objects equal no value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any, Literal

from memkit.errors import InvalidInputError
from memkit.ledger.engine import metadata_index as index
from memkit.ledger.engine.dialect import Condition
from memkit.ledger.engine.metadata_index import Lookup
from memkit.types import Metadata, validate

MAX_CONDITIONS = 200
MAX_DEPTH = 16

_ORDERINGS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "$gt": (">", gt),
    "$gte": (">=", ge),
    "$lt": ("<", lt),
    "$lte": ("<=", le),
}
_OPERATORS = ("$eq", "$ne", *_ORDERINGS, "$in", "$exists")
_CONNECTIVES = ("$and", "$or", "$not")
_MISSING = object()


@dataclass(frozen=True)
class _Condition:
    path: tuple[str, ...]
    operator: str
    operand: Any


@dataclass(frozen=True)
class _Group:
    connective: Literal["$and", "$or", "$not"]
    parts: tuple[_Condition | _Group, ...]


def compile(where: Metadata, *, column: str = "records.metadata") -> Condition:
    """Give the SQL condition for a filter, with its parameters, which hold all keys and values.

    ``{}`` accepts everything. The column holds the metadata as JSON text.

    Raises:
        InvalidInputError: If the filter is malformed; the message names the part.
    """
    return _sql(_parse(where), column)


def matches(where: Metadata, metadata: Metadata) -> bool:
    """Tell whether metadata passes a filter, in plain Python; errors as of `compile`."""
    return _holds(_parse(where), metadata)


def lookup(where: Metadata) -> Lookup | None:
    """Give SQL for the records among which those that pass a filter are; None for all records."""
    return _lookup(_parse(where))


def _parse(where: Metadata) -> _Group:
    group = _parse_filter(where, depth=0)
    if _size(group) > MAX_CONDITIONS:
        raise InvalidInputError(
            f"`where` must have at most {MAX_CONDITIONS} conditions, got {_size(group)}",
            "Use $in for a choice between many values.",
        )
    return group


def _parse_filter(where: object, *, depth: int) -> _Group:
    if not isinstance(where, Mapping):
        raise InvalidInputError(
            f"`where` must be a mapping, got {where!r}", 'For example {"source": "hr"}.'
        )
    if depth > MAX_DEPTH:
        raise InvalidInputError(f"`where` must be at most {MAX_DEPTH} levels deep")
    parts: list[_Condition | _Group] = []
    for key, value in where.items():
        if not isinstance(key, str):
            raise InvalidInputError(f"keys of `where` must be strings, got {key!r}")
        validate.check_characters("where", key)
        if key in _CONNECTIVES:
            parts.append(_parse_connective(key, value, depth=depth + 1))
        elif key.startswith("$"):
            raise _unknown(
                key,
                _CONNECTIVES,
                f"Inside a key, e.g. {{'year': {{'$gt': 2020}}}}, also {', '.join(_OPERATORS)}.",
            )
        else:
            parts += _parse_key(key, value)
    return _Group("$and", tuple(parts))


def _parse_connective(name: str, value: object, *, depth: int) -> _Group:
    if name == "$not":
        return _Group("$not", (_parse_filter(value, depth=depth),))
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise InvalidInputError(f"`{name}` needs a non-empty list of filters, got {value!r}")
    parts = tuple(_parse_filter(part, depth=depth) for part in value)
    return _Group("$and" if name == "$and" else "$or", parts)


def _parse_key(key: str, value: object) -> list[_Condition]:
    path = tuple(key.split("."))
    if len(path) > validate.MAX_DEPTH:
        raise InvalidInputError(f"keys of `where` reach at most {validate.MAX_DEPTH} levels deep")
    if not isinstance(value, Mapping):
        value = {"$eq": value}
    if not value:
        raise InvalidInputError(f"the key {key!r} of `where` has no operator, got {value!r}")
    for operator, operand in value.items():
        if operator not in _OPERATORS:
            raise _unknown(operator, _OPERATORS, f"A dot reaches into objects: '{key}.…'.")
        _check_operand(key, operator, operand)
    return [_Condition(path, operator, operand) for operator, operand in value.items()]


def _unknown(operator: object, allowed: Sequence[str], hint: str) -> InvalidInputError:
    return InvalidInputError(
        f"unknown operator {operator!r} in `where`, expected one of {', '.join(allowed)}", hint
    )


def _check_operand(key: str, operator: str, operand: object) -> None:
    if operator == "$exists":
        valid, expected = isinstance(operand, bool), "true or false"
    elif operator == "$in":
        valid = isinstance(operand, list | tuple | set | frozenset) and all(
            _kind(value) for value in operand
        )
        expected = "a list of strings, numbers, booleans or null"
    elif operator in _ORDERINGS:
        valid, expected = _kind(operand) in {"number", "string"}, "a number or a string"
    else:
        valid, expected = _kind(operand) is not None, "a string, number, boolean or null"
    if not valid:
        raise InvalidInputError(
            f"`{operator}` of the key {key!r} in `where` needs {expected}, got {operand!r}",
            "To choose between values, use $in." if isinstance(operand, list) else "",
        )


def _kind(value: object) -> str | None:
    """Name the JSON type of a scalar; None for anything that is none."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            validate.check_characters("where", value)
            return "string"
        case int() if -(2**63) <= value < 2**63:
            return "number"
        case float() if math.isfinite(value):
            return "number"
        case _:
            return None


def _size(node: _Condition | _Group) -> int:
    return 1 if isinstance(node, _Condition) else sum(map(_size, node.parts))


def _holds(node: _Condition | _Group, metadata: Metadata) -> bool:
    if isinstance(node, _Condition):
        return _compare(node, _reach(metadata, node.path))
    if node.connective == "$or":
        return any(_holds(part, metadata) for part in node.parts)
    whole = all(_holds(part, metadata) for part in node.parts)
    return whole if node.connective == "$and" else not whole


def _reach(value: object, path: tuple[str, ...]) -> object:
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return _MISSING
        value = value[key]
    return value


def _compare(condition: _Condition, value: object) -> bool:
    operator, operand = condition.operator, condition.operand
    if operator == "$exists":
        return (value is not _MISSING) is operand
    if operator == "$in":
        return any(_equal(value, choice) for choice in operand)
    if operator in _ORDERINGS:
        _, ordered = _ORDERINGS[operator]
        return _kind(value) == _kind(operand) and ordered(value, operand)
    return _equal(value, operand) is (operator == "$eq")


def _equal(value: object, operand: object) -> bool:
    kind = _kind(value)
    return kind is not None and kind == _kind(operand) and bool(value == operand)


def _lookup(node: _Condition | _Group) -> Lookup | None:
    if isinstance(node, _Condition):
        return _look_up(node)
    if node.connective == "$not":
        return None
    lookups = [_lookup(part) for part in node.parts]
    indexed = [lookup for lookup in lookups if lookup is not None]
    if node.connective == "$and":
        return index.combined("INTERSECT", indexed)
    return index.combined("UNION", indexed) if len(indexed) == len(lookups) else None


def _look_up(condition: _Condition) -> Lookup | None:
    key, operator, operand = condition.path[-1], condition.operator, condition.operand
    if operator == "$exists":
        return index.having(key) if operand else None
    if operator in _ORDERINGS:
        return index.having_within(key, operator, operand)
    if operator == "$ne":
        return None
    return index.having_one_of(key, list(operand) if operator == "$in" else [operand])


def _sql(node: _Condition | _Group, column: str) -> Condition:
    if isinstance(node, _Condition):
        return _condition_sql(node, column)
    parts = [_sql(part, column) for part in node.parts] or [("TRUE", [])]
    joined = (" OR " if node.connective == "$or" else " AND ").join(sql for sql, _ in parts)
    sql = f"NOT ({joined})" if node.connective == "$not" else f"({joined})"
    return sql, [parameter for _, own in parts for parameter in own]


def _condition_sql(condition: _Condition, column: str) -> Condition:
    operator, operand = condition.operator, condition.operand
    sign = None if operator == "$exists" else _ORDERINGS.get(operator, ("=",))[0]
    choices = list(operand) if operator == "$in" else [operand]
    sql, parameters = index.comparison(column, condition.path, sign, choices)
    negated = operator == "$ne" or (operator == "$exists" and not operand)
    return f"NOT {sql}" if negated else sql, parameters

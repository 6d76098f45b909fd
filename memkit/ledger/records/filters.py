"""The metadata filter language, as SQL and as plain Python.

    {"source": "hr"}                                 a key equals a value
    {"year": {"$gte": 2020, "$lt": 2024}}            operators; all of them must hold
    {"author.name": {"$in": ["Ada", "Grace"]}}       a full stop reaches into nested objects
    {"tags": "hr"}, {"tags": {"$nin": ["old"]}}      a list passes if one of its values does
    {"$or": [{"draft": {"$exists": False}}, {"$not": {"draft": True}}]}

Values are compared by JSON type: numbers with numbers, strings with strings (by code point),
and true is not 1. Of a list each value is compared, for each operator by itself; objects equal
no value. ``$contains`` holds for a list that has the value, and for a string that has it as a
part. ``$ne`` and ``$nin`` are the negations of ``$eq`` and ``$in``, so they hold for a missing
key; all other comparisons fail for a missing key.

A full stop in a key is either: "user.email" is the key "user.email" and also "email" in the
object "user". No metadata has both (`memkit.types.validate.check_metadata`). What is in objects
in lists has no key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any, Literal

from memkit.errors import InvalidInputError
from memkit.ledger.engine import metadata_index as index
from memkit.ledger.engine.dialect import Condition
from memkit.ledger.engine.metadata_index import Lookup
from memkit.types import Metadata, validate
from memkit.types.validate import describe, shown

MAX_CONDITIONS = 200
MAX_DEPTH = 16
_DEEPEST_LOOKUP = 3  # groups in groups; what is deeper is only judged

_ORDERINGS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$gt": gt,
    "$gte": ge,
    "$lt": lt,
    "$lte": le,
}
_NEGATIONS = {"$ne": "$eq", "$nin": "$in"}
_OPERATORS = ("$eq", "$ne", *_ORDERINGS, "$in", "$nin", "$contains", "$exists")
_CONNECTIVES = ("$and", "$or", "$not")
_MOST_CHARACTERS = validate.MAX_DEPTH * (validate.MAX_ID_CHARACTERS + 1)  # of a key


@dataclass(frozen=True)
class _Condition:
    key: str
    operator: str
    operand: Any  # a list of the choices if the operator takes several


@dataclass(frozen=True)
class _Group:
    connective: Literal["$and", "$or", "$not"]
    parts: tuple[_Condition | _Group, ...]


@dataclass(frozen=True)
class Filter:
    """A checked filter."""

    _root: _Group

    def sql(self, column: str = "records.metadata") -> Condition:
        """Give the SQL condition, with its parameters, which hold all keys and values.

        The column holds the metadata as JSON text.
        """
        return _sql(self._root, column)

    def lookup(self) -> Lookup | None:
        """Give SQL for the records among which those that pass are; None for all records."""
        return _lookup(self._root, _DEEPEST_LOOKUP)

    def matches(self, metadata: Metadata) -> bool:
        """Tell whether metadata, as it is stored, passes, in plain Python."""
        return _holds(self._root, metadata)


def parse(where: Metadata) -> Filter:
    """Check a filter; ``{}`` accepts everything. Its strings are compared in normal form C.

    Raises:
        InvalidInputError: If it is malformed; the message names the part.
    """
    group = _parse_filter(where, depth=0)
    if _size(group) > MAX_CONDITIONS:
        raise InvalidInputError(
            f"`where` must have at most {MAX_CONDITIONS} conditions, got {_size(group)}",
            "Use $in for a choice between many values.",
        )
    return Filter(_flat(group))


def plain(where: Metadata) -> Metadata:
    """Check a filter, and give it in plain values, which mean the same to whoever reads them.

    Raises:
        InvalidInputError: If it is malformed.
    """
    parse(where)
    return _plain(where)


def _plain(where: Metadata) -> Metadata:
    made: dict[str, Any] = {}
    for name, value in where.items():
        key = validate.normal_form(name)
        if key == "$not":
            made[key] = _plain(value)
        elif key in _CONNECTIVES:
            made[key] = [_plain(part) for part in value]
        else:
            operands = {part.operator: part.operand for part in _parse_key(key, value)}
            made[key] = operands if isinstance(value, Mapping) else operands["$eq"]
    return made


def matches(where: Metadata, metadata: Metadata) -> bool:
    """Tell whether metadata passes a filter; for many of them, `parse` it once."""
    return parse(where).matches(metadata)


def _parse_filter(where: object, *, depth: int) -> _Group:
    if not isinstance(where, Mapping):
        raise InvalidInputError(
            f"`where` must be a mapping, got {describe(where)}", 'For example {"source": "hr"}.'
        )
    if depth > MAX_DEPTH:
        raise InvalidInputError(f"`where` must be at most {MAX_DEPTH} levels deep")
    parts: list[_Condition | _Group] = []
    for key, value in where.items():
        if not isinstance(key, str):
            raise InvalidInputError(f"keys of `where` must be strings, got {describe(key)}")
        key = validate.check_characters("where", key)  # noqa: PLW2901 - in normal form
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
        raise InvalidInputError(
            f"`{name}` needs a non-empty list of filters, got {describe(value)}"
        )
    parts = tuple(_parse_filter(part, depth=depth) for part in value)
    return _Group("$and" if name == "$and" else "$or", parts)


def _parse_key(key: str, value: object) -> list[_Condition]:
    if len(key) > _MOST_CHARACTERS:
        raise InvalidInputError(
            f"keys of `where` have at most {_MOST_CHARACTERS:,} characters, got {len(key):,}"
        )
    if not isinstance(value, Mapping):
        value = {"$eq": value}
    if not value:
        raise InvalidInputError(f"the key {key!r} of `where` has no operator, got {{}}")
    for operator in value:
        if operator not in _OPERATORS:
            raise _unknown(operator, _OPERATORS, f"To reach into an object, write '{key}.…'.")
    return [_Condition(key, name, _operand(key, name, value)) for name, value in value.items()]


def _unknown(operator: object, allowed: Sequence[str], hint: str) -> InvalidInputError:
    return InvalidInputError(
        f"unknown operator {shown(operator)} in `where`, expected one of {', '.join(allowed)}", hint
    )


def _operand(key: str, operator: str, operand: object) -> Any:  # noqa: ANN401 - JSON
    """Check what an operator compares with, and give it as it would be stored."""
    if operator == "$exists":
        if isinstance(operand, bool):
            return operand
        expected = "true or false"
    elif operator in {"$in", "$nin"}:
        if isinstance(operand, list | tuple | set | frozenset) and all(map(_is_scalar, operand)):
            return [validate.check_scalar("where", value) for value in operand]
        expected = "a list of strings, numbers, booleans or null"
    elif operator in _ORDERINGS:
        plain = validate.check_scalar("where", operand) if _is_scalar(operand) else None
        if not isinstance(plain, bool | None):
            return plain
        expected = "a number or a string"
    else:
        if _is_scalar(operand) and not (operator == "$contains" and operand == ""):
            return validate.check_scalar("where", operand)
        expected = "a string, number, boolean or null"
        expected += " that is not empty" if operator == "$contains" else ""
    raise InvalidInputError(
        f"`{operator}` of the key {key!r} in `where` needs {expected}, got {describe(operand)}",
        "To choose between values, use $in or $nin; a list has a value if $contains holds."
        if isinstance(operand, list | tuple | set | frozenset)
        else "",
    )


def _is_scalar(value: object) -> bool:
    try:
        validate.check_scalar("where", value)
    except InvalidInputError:
        if isinstance(value, str):
            raise  # it says what is wrong with the characters
        return False
    return True


def _kind(value: object) -> str | None:
    """Name the JSON type of a scalar as it is stored; None for lists and objects."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return "string"
        case int() | float():
            return "number"
        case _:
            return None


def _size(node: _Condition | _Group) -> int:
    """How many conditions there are; an empty filter is one that always holds."""
    return 1 if isinstance(node, _Condition) or not node.parts else sum(map(_size, node.parts))


def _flat(group: _Group) -> _Group:
    """The same as SQLite's parser can read it, which takes in no deep nests.

    There are as few groups in groups as it takes, and the deepest come first: what is open to the
    left of a bracket lies on the parser's stack.
    """
    parts: list[_Condition | _Group] = []
    for part in group.parts:
        node = _flat(part) if isinstance(part, _Group) else part
        while isinstance(node, _Group) and node.connective != "$not" and len(node.parts) == 1:
            node = node.parts[0]
        if isinstance(node, _Group) and node.connective == group.connective != "$not":
            parts += node.parts or (node,)
        else:
            parts.append(node)
    return _Group(group.connective, tuple(sorted(parts, key=_depth, reverse=True)))


def _depth(node: _Condition | _Group) -> int:
    if isinstance(node, _Condition):
        return 0
    return 1 + max(map(_depth, node.parts), default=0)


def _holds(node: _Condition | _Group, metadata: Metadata) -> bool:
    if isinstance(node, _Condition):
        return _compare(node, list(_reach(metadata, node.key)))
    if node.connective == "$or":
        return any(_holds(part, metadata) for part in node.parts)
    whole = all(_holds(part, metadata) for part in node.parts)
    return whole if node.connective == "$and" else not whole


def _reach(value: object, key: str) -> Iterator[object]:
    """The value at a key: none if it is missing, and several if a full stop is ambiguous."""
    if not isinstance(value, Mapping):
        return
    if key in value:
        yield value[key]
    for place, character in enumerate(key):
        if character == "." and key[:place] in value:
            yield from _reach(value[key[:place]], key[place + 1 :])


def _compare(condition: _Condition, values: Sequence[object]) -> bool:
    operator, operand = condition.operator, condition.operand
    if operator == "$exists":
        return bool(values) is operand
    positive = _NEGATIONS.get(operator, operator)
    passes = any(_passes(value, positive, operand) for value in values)
    return passes is (operator == positive)


def _passes(value: object, operator: str, operand: Any) -> bool:  # noqa: ANN401 - JSON
    elements = value if isinstance(value, list | tuple) else []
    if operator == "$contains":
        part = isinstance(value, str) and isinstance(operand, str) and operand in value
        return part or any(_equal(element, operand) for element in elements)
    choices = operand if operator == "$in" else [operand]
    compare = _ORDERINGS.get(operator)
    return any(
        _equal(held, choice)
        if compare is None
        else _kind(held) == _kind(choice) and compare(held, choice)
        for held in (value, *elements)
        for choice in choices
    )


def _equal(value: object, operand: object) -> bool:
    kind = _kind(value)
    return kind is not None and kind == _kind(operand) and bool(value == operand)


def _lookup(node: _Condition | _Group, depth: int) -> Lookup | None:
    if isinstance(node, _Condition):
        return _look_up(node)
    if node.connective == "$not" or not depth:
        return None
    lookups = [_lookup(part, depth - 1) for part in node.parts]
    indexed = [lookup for lookup in lookups if lookup is not None]
    if node.connective == "$and":
        return index.combined("INTERSECT", indexed)
    return index.combined("UNION", indexed) if len(indexed) == len(lookups) else None


def _look_up(condition: _Condition) -> Lookup | None:
    keys, operator, operand = _last_keys(condition.key), condition.operator, condition.operand
    if operator in _NEGATIONS or (operator == "$exists" and not operand):
        return None
    if operator in {"$exists", "$contains"}:  # parts of strings are not looked up
        return index.having(keys)
    if operator in _ORDERINGS:
        return index.having_within(keys, operator, operand)
    return index.having_one_of(keys, operand if operator == "$in" else [operand])


def _last_keys(key: str) -> list[str]:
    """The keys that a value may stand under directly: what is behind some full stop, or all."""
    starts = [0, *(place + 1 for place, character in enumerate(key) if character == ".")]
    return [key[start:] for start in starts if len(key) - start <= validate.MAX_ID_CHARACTERS]


def _sql(node: _Condition | _Group, column: str) -> Condition:
    if isinstance(node, _Condition):
        return _condition_sql(node, column)
    parts = [_sql(part, column) for part in node.parts] or [("TRUE", [])]
    joined = (" OR " if node.connective == "$or" else " AND ").join(sql for sql, _ in parts)
    sql = f"NOT ({joined})" if node.connective == "$not" else f"({joined})"
    return sql, [parameter for _, own in parts for parameter in own]


def _condition_sql(condition: _Condition, column: str) -> Condition:
    operator, operand = condition.operator, condition.operand
    positive = _NEGATIONS.get(operator, operator)
    choices = operand if positive == "$in" else [operand]
    test = "$in" if positive == "$eq" else positive
    sql, parameters = index.comparison(column, condition.key, test, choices)
    negated = operator in _NEGATIONS or (operator == "$exists" and not operand)
    return f"NOT {sql}" if negated else sql, parameters

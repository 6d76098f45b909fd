"""The filters of LangGraph stores: which items a search lets pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from memkit import InvalidInputError
from memkit.types.validate import shown

_Test = Callable[[Any, Any], bool]
_EQUALITY: dict[str, _Test] = {"$eq": eq, "$ne": ne}
_ORDER: dict[str, _Test] = {"$gt": gt, "$gte": ge, "$lt": lt, "$lte": le}


MAX_DEPTH = 64


def check_filter(conditions: Mapping[str, Any], *, depth: int = 0) -> None:
    """Refuse a filter with unknown operators.

    Raises:
        InvalidInputError: If there is one, or operators and plain keys stand in one object; if
            nothing can be above or below what an operator compares with; or if objects and lists
            are nested too deep.
    """
    if depth > MAX_DEPTH:
        raise InvalidInputError(f"expected a filter of at most {MAX_DEPTH} levels, got more")
    if not isinstance(conditions, Mapping) or not all(isinstance(key, str) for key in conditions):
        raise InvalidInputError(
            f"expected a filter to be a dict with string keys, got {shown(conditions)}"
        )
    for value in conditions.values():
        if isinstance(value, Mapping) and not _compares(value):
            check_filter(value, depth=depth + 1)
        for place, part in enumerate(value if isinstance(value, list | tuple) else ()):
            check_filter({str(place): part}, depth=depth + 1)


def _compares(value: Mapping[str, Any]) -> bool:
    """Whether a filter value is one of operators, which are checked."""
    operators = {key for key in value if isinstance(key, str) and key.startswith("$")}
    unknown = operators - _EQUALITY.keys() - _ORDER.keys()
    if unknown or (operators and len(operators) < len(value)):
        raise InvalidInputError(
            f"expected operators among {sorted(_EQUALITY | _ORDER)}, got {shown(value)}"
        )
    for operator in operators & _ORDER.keys():
        operand = value[operator]
        if isinstance(operand, bool) or not isinstance(operand, int | float | str):
            raise InvalidInputError(
                f"expected `{operator}` with a number or a string, got {shown(operand)}"
            )
    return bool(operators)


def matches(value: Mapping[str, Any], conditions: Mapping[str, Any]) -> bool:
    """Tell whether every key of a filter holds for an item's value.

    A plain filter value has to be equal, an object has to hold key by key, a list place by
    place. Numbers are ordered with numbers and strings with strings; nothing else is ordered,
    and so it passes neither ``$gt`` nor its relatives.
    """
    return all(_holds(value.get(key), condition) for key, condition in conditions.items())


def _holds(value: Any, condition: Any) -> bool:  # noqa: ANN401 - JSON
    if isinstance(condition, Mapping):
        if any(key.startswith("$") for key in condition):
            return all(_compare(value, *pair) for pair in condition.items())
        return isinstance(value, Mapping) and matches(value, condition)
    if isinstance(condition, list | tuple):
        return (
            isinstance(value, list)
            and len(value) == len(condition)
            and all(map(_holds, value, condition))
        )
    return bool(value == condition)


def _compare(value: Any, operator: str, operand: Any) -> bool:  # noqa: ANN401 - JSON
    if operator in _EQUALITY:
        return _EQUALITY[operator](value, operand)
    alike = any(
        isinstance(value, kind) and isinstance(operand, kind) for kind in (int | float, str)
    )
    return alike and _ORDER[operator](value, operand)

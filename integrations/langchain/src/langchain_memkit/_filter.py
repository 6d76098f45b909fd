"""The filters of LangGraph stores: which items a search lets pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from memkit import InvalidInputError

_Test = Callable[[Any, Any], bool]
_EQUALITY: dict[str, _Test] = {"$eq": eq, "$ne": ne}
_ORDER: dict[str, _Test] = {"$gt": gt, "$gte": ge, "$lt": lt, "$lte": le}


def check_filter(wanted: Mapping[str, Any]) -> None:
    """Refuse a filter with operators that there are not.

    Raises:
        InvalidInputError: Which one.
    """
    for value in wanted.values():
        if isinstance(value, Mapping):
            operators = {key for key in value if key.startswith("$")}
            unknown = operators - _EQUALITY.keys() - _ORDER.keys()
            if unknown or (operators and len(operators) < len(value)):
                raise InvalidInputError(
                    f"expected operators among {sorted(_EQUALITY | _ORDER)}, got {value!r}"
                )
            if not operators:
                check_filter(value)


def matches(value: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether every key of a filter holds for an item's value.

    A plain filter value has to be equal, an object has to hold key by key, a list place by
    place. Numbers are ordered with numbers and strings with strings; nothing else is ordered,
    and so it passes neither ``$gt`` nor its relatives.
    """
    return all(_holds(value.get(key), filter_) for key, filter_ in wanted.items())


def _holds(found: Any, wanted: Any) -> bool:  # noqa: ANN401 - JSON
    if isinstance(wanted, Mapping):
        if any(key.startswith("$") for key in wanted):
            return all(_compare(found, *pair) for pair in wanted.items())
        return isinstance(found, Mapping) and matches(found, wanted)
    if isinstance(wanted, list | tuple):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(map(_holds, found, wanted))
        )
    return bool(found == wanted)


def _compare(found: Any, operator: str, operand: Any) -> bool:  # noqa: ANN401 - JSON
    if operator in _EQUALITY:
        return _EQUALITY[operator](found, operand)
    alike = any(
        isinstance(found, kind) and isinstance(operand, kind) for kind in (int | float, str)
    )
    return alike and _ORDER[operator](found, operand)

"""Metadata and the values of items: JSON that comes back as it was given."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Iterator, Mapping
from typing import Any

from memkit.errors import InvalidInputError
from memkit.types.validate.descriptions import describe, shown
from memkit.types.validate.strings import MAX_ID_CHARACTERS, check_characters, normal_form

MAX_DEPTH = 32
LEAST_INTEGER, MOST_INTEGER = -(2**63), 2**63 - 1

Scalar = str | int | float | bool | None

_SCALARS = "strings, finite numbers (integers of at most 64 bits), booleans and null"
# What is JSON in one of several ways, of which the caller has to choose.
_HINTS = (
    ("isoformat", "Give its `.isoformat()`."),
    ("total_seconds", "Give its `.total_seconds()`."),
    ("as_integer_ratio", "Give `float(value)` or `str(value)`."),
    ("tolist", "Give its `.tolist()`."),
    ("decode", "Give `value.decode()`, or base 64 of it."),
    ("__fspath__", "Give `str(value)`."),
    ("model_dump", "Give its `.model_dump(mode='json')`."),
)


def read_json(text: str | bytes) -> Any:  # noqa: ANN401 - JSON
    """Read JSON that comes from elsewhere.

    Raises:
        ValueError: If it is none, or nests more deeply than Python reads.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def check_scalar(name: str, value: object) -> Scalar:
    """Check that a value is what JSON has beside lists and objects, and give it as that.

    Subclasses of `str`, `int` and `float`, such as enumerations, and NumPy's scalars become the
    plain value; strings come in normal form.

    Raises:
        InvalidInputError: If nothing in JSON is the same value.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return check_characters(name, value)
    if isinstance(value, int):
        whole = operator.index(value)
        # Compared, not looked up in a range: of a subclass Python would try each number of it.
        if LEAST_INTEGER <= whole <= MOST_INTEGER:
            return whole
    elif isinstance(value, float):
        number = float.__float__(value)
        if math.isfinite(number):
            return number
    elif (plain := _plain(value)) is not value:
        return check_scalar(name, plain)
    raise _refused(name, value, _SCALARS)


def check_object(name: str, value: object) -> dict[str, Any]:
    """Check that a value is a JSON object, and give it as a plain dict; see `check_scalar`."""
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"`{name}` must be a mapping, got {describe(value)}")
    return _object(name, name, value, depth=0)


def in_normal_form(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Give JSON that comes from elsewhere with all its strings in normal form C.

    Raises:
        InvalidInputError: If two keys of an object have the same normal form.
    """
    if isinstance(value, dict):
        checked = {normal_form(key): in_normal_form(child) for key, child in value.items()}
        if len(checked) < len(value):
            raise InvalidInputError(
                f"keys must differ in Unicode normal form C, got {describe(value)}"
            )
        return checked
    if isinstance(value, list):
        return [in_normal_form(child) for child in value]
    return normal_form(value) if isinstance(value, str) else value


def check_metadata(metadata: object) -> dict[str, Any]:
    """Check that metadata is a JSON object that filters can read, and give it as a plain dict.

    Raises:
        InvalidInputError: If not, or if a filter would have two values for one key: "a.b" is the
            key "a.b" as well as "b" in the object "a".
    """
    checked = check_object("metadata", metadata)
    names: set[str] = set()
    for name in _names("", checked):
        if name in names:
            raise InvalidInputError(
                f"`metadata` must have one value for {name!r}, got several: a full stop in a key "
                "reads like an object in an object",
                "Leave one of them out, or rename it.",
            )
        names.add(name)
    return checked


def _names(prefix: str, value: Mapping[str, Any]) -> Iterator[str]:
    """The names under which a filter reaches what is in an object."""
    for key, child in value.items():
        yield prefix + key
        if isinstance(child, Mapping):
            yield from _names(f"{prefix}{key}.", child)


def _value(argument: str, name: str, value: object, *, depth: int) -> Any:  # noqa: ANN401 - JSON
    if depth > MAX_DEPTH:
        raise InvalidInputError(
            f"`{argument}` must be at most {MAX_DEPTH} levels deep", "Give deep values as text."
        )
    if isinstance(value, Mapping):
        return _object(argument, name, value, depth=depth)
    if isinstance(value, list | tuple):
        return [
            _value(argument, f"{name}[{index}]", child, depth=depth + 1)
            for index, child in enumerate(value)
        ]
    try:
        return check_scalar(name, value)
    except InvalidInputError:
        if isinstance(value, str):
            raise
        raise _refused(name, value, f"{_SCALARS}, lists and objects") from None


def _object(argument: str, name: str, value: Mapping[Any, Any], *, depth: int) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for key, child in value.items():
        if not isinstance(key, str):
            raise InvalidInputError(
                f"keys of `{name}` must be strings, got {describe(key)}", "Give `str(key)`."
            )
        key = check_characters(name, key)  # noqa: PLW2901 - in normal form from here on
        if len(key) > MAX_ID_CHARACTERS:
            raise InvalidInputError(
                f"keys of `{name}` must have at most {MAX_ID_CHARACTERS} characters, got "
                f"{len(key):,}",
                "Long texts belong into values.",
            )
        if key in checked:
            raise InvalidInputError(
                f"keys of `{name}` must differ in Unicode normal form C, got {shown(key)} twice",
                "Leave one of them out.",
            )
        checked[key] = _value(argument, f"{name}.{key}", child, depth=depth + 1)
    return checked


def _plain(value: Any) -> Any:  # noqa: ANN401 - of any kind
    """The Python value of a NumPy scalar; anything else as it is."""
    if type(value).__module__ != "numpy":
        return value
    import numpy as np  # there already, as the value is one of its own

    # To NumPy a duration is an integer, and a long double a number that no float is the same as.
    others = np.timedelta64 | np.longdouble
    exact = isinstance(value, np.bool_ | np.integer | np.floating) and not isinstance(value, others)
    return value.item() if exact else value


def _refused(name: str, value: object, allowed: str) -> InvalidInputError:
    hint = next((hint for method, hint in _HINTS if hasattr(value, method)), "")
    if isinstance(value, int | float):
        hint = "Give it as a string."
    return InvalidInputError(
        f"`{name}` must be a JSON value, got {describe(value)}",
        f"JSON has {allowed}. {hint}".strip(),
    )

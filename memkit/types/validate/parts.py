"""Parts that the caller hands over, and what they return."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from memkit.errors import InvalidInputError
from memkit.types.validate.descriptions import describe


def check_part(name: str, value: object, kind: type, expected: str, hint: str = "") -> None:
    """Check that a part that the caller hands over is an instance of what it has to be."""
    if not isinstance(value, kind):
        refuse_part(name, value, expected, hint)


def check_methods(name: str, value: object, methods: Iterable[str], expected: str) -> None:
    """Check that a part that the caller hands over has what its protocol asks for."""
    missing = [method for method in methods if not hasattr(value, method)]
    if isinstance(value, type) or missing:
        refuse_part(name, value, expected, f"It has no `{'`, no `'.join(missing)}`.")


def refuse_part(name: str, value: object, expected: str, hint: str = "") -> NoReturn:
    """Refuse a part that is not what was expected; a class is most often meant as an instance."""
    if isinstance(value, type):
        hint = f"Give an instance of it: {value.__name__}(...)."
    raise InvalidInputError(f"`{name}` must be {expected}, got {describe(value)}", hint)


def check_result(part: str, value: object, kind: type, expected: str) -> None:
    """Check what a part of the caller's own has returned."""
    if not isinstance(value, kind):
        raise InvalidInputError(f"{part} must return {expected}, got {describe(value)}")


def check_results(part: str, values: object, kind: type, expected: str) -> None:
    """Check what a part of the caller's own has returned: a list of values of one kind."""
    if not isinstance(values, list | tuple):
        raise InvalidInputError(f"{part} must return {expected}, got {describe(values)}")
    for value in values:
        if not isinstance(value, kind):
            raise InvalidInputError(
                f"{part} must return {expected}, got a list with {describe(value)}"
            )

"""Numbers and truth values."""

from __future__ import annotations

import math

from memkit.errors import InvalidInputError
from memkit.types.validate.descriptions import describe, shown

LONGEST_WAIT = 365 * 86_400  # seconds; clocks of systems take no much longer ones
MOST = 10**15  # of what is counted: more than any memory holds, and far below 64 bits


def check_limit(name: str, value: object, *, least: int = 1, most: int = MOST) -> None:
    """Check that a number of things is an integer from ``least`` to ``most``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidInputError(
            f"`{name}` must be an integer of at least {least}, got {shown(value)}"
        )
    if value > most:
        raise InvalidInputError(f"`{name}` must be at most {most:,}, got {shown(value)}")


def check_number(name: str, value: object) -> None:
    """Check that a value is a finite number; its range is for the caller to check."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidInputError(f"`{name}` must be a number, got {describe(value)}")
    if not math.isfinite(float_of(value)):
        raise InvalidInputError(f"`{name}` must be finite, got {shown(value)}")


def check_duration(name: str, value: object) -> None:
    """Check that a value is a number of seconds, from 0 to a year."""
    check_number(name, value)
    if not 0 <= float_of(value) <= LONGEST_WAIT:
        raise InvalidInputError(
            f"`{name}` must be from 0 to {LONGEST_WAIT:,} seconds, a year, got {shown(value)}"
        )


def check_flag(name: str, value: object) -> None:
    """Check that a value is True or False: a text such as "no" would count as true."""
    if not isinstance(value, bool):
        raise InvalidInputError(f"`{name}` must be True or False, got {describe(value)}")


def float_of(value: object) -> float:
    """Give a number as a float; infinity if it is too large for one."""
    try:
        return float(value)  # type: ignore[arg-type]  # it was checked to be a number
    except OverflowError:
        return math.inf

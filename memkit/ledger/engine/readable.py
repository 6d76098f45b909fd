"""Makes values of rows whose cells a damaged or foreign file may have filled with anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from memkit.errors import CorruptFileError, MemkitError
from memkit.ledger.engine.database import Row

T = TypeVar("T")
_DIGITS = 15  # of a number that somebody has counted to
# What Python raises for a value of the wrong type, of the wrong form or out of range.
_SENSELESS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, OSError)


def readable(table: str, id: object, make: Callable[[Row], T], row: Row) -> T:
    """What ``make`` makes of a row.

    Raises:
        CorruptFileError: If a cell is not of the kind that memkit writes. The message names the
            row, and nothing that it says.
    """
    try:
        return make(row)
    except MemkitError:
        raise
    except (*_SENSELESS, RecursionError) as exc:
        raise CorruptFileError(
            f"expected a row of {table!r} as memkit writes it, that of {id!r:.60} has a value of "
            f"the wrong kind ({type(exc).__name__})",
            "Restore a backup, or `forget` what the row is of.",
        ) from None  # what Python says may quote the value


def as_text(value: object) -> str:
    """A cell that has to be text."""
    if not isinstance(value, str):
        raise TypeError
    return value


def whole_number(value: object) -> int:
    """A cell that has to be a whole number."""
    if not isinstance(value, int):
        raise TypeError
    return value


def whole(setting: object) -> int | None:
    """A setting that is a whole number, not below 0; None if it is something else."""
    if not isinstance(setting, str) or len(setting) > _DIGITS:
        return None
    return int(setting) if setting.isascii() and setting.isdigit() else None

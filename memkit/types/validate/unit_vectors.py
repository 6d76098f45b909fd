"""Vectors: finite real numbers, made one unit long without overflow or underflow."""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Any

from memkit.errors import InvalidInputError, NonFiniteError
from memkit.types.validate.amounts import float_of
from memkit.types.validate.descriptions import describe, shown

if TYPE_CHECKING:
    import numpy as np

    Unit = np.ndarray[tuple[int], np.dtype[np.float32]]


LONGEST = 2**20  # numbers of a vector; embedders give some thousands


def unit_vector(name: str, value: object, *, hint: str = "") -> Unit:
    """Give a vector as a row of length 1 in float32; zeros stay zeros.

    Raises:
        InvalidInputError: If it is no row of real numbers; `NonFiniteError` if one of them is
            NaN, infinite, or too large for a float.
    """
    import numpy as np  # only those that have vectors need it

    if (length := _length(value)) > LONGEST:
        raise InvalidInputError(
            f"`{name}` must be at most {LONGEST:,} numbers, got {length:,}", hint
        )
    row = _numbers(value)
    if row is None or row.ndim != 1 or not row.size:
        shape = "" if row is None or row.ndim == 1 else f" of shape {row.shape}"
        raise InvalidInputError(
            f"`{name}` must be numbers in one row, got {describe(value)}{shape}", hint
        )
    if not np.isfinite(row).all():
        raise NonFiniteError(f"`{name}` must be finite numbers, got {shown(value)}")
    # Scaled first: the squares of what is very long or very short are infinite or zero.
    largest = np.abs(row).max()
    scaled = row / largest if largest else row
    unit: Unit = (scaled / (np.linalg.norm(scaled) or 1.0)).astype(np.float32)
    return unit


def _length(value: object) -> int:
    """How many parts a value has; 0 if nothing says so."""
    try:
        return len(value) if isinstance(value, Sized) else 0
    except TypeError:  # of an array without an axis
        return 0


def _numbers(value: object) -> Any:  # noqa: ANN401 - an array of float64, or None
    """What NumPy makes of real numbers; None of anything else."""
    import numpy as np

    try:
        array = np.asarray(value)
        if array.dtype.kind == "O":  # integers of more than 64 bits, or what is no number
            whole = all(type(number) in {int, float} for number in array.flat)
            return np.array([float_of(n) for n in array.flat]) if whole and array.ndim else None
        return array.astype(np.float64) if array.dtype.kind in "iuf" else None
    except (TypeError, ValueError, OverflowError, RecursionError):  # of ragged rows, for example
        return None

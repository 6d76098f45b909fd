"""Where a memory is opened: a directory, or a schema of a PostgreSQL server."""

from __future__ import annotations

from pathlib import Path

from memkit.errors import InvalidInputError
from memkit.ledger import is_address, shown_address
from memkit.types.validate import check_path

_CUT = ("postgresql:/", "postgres:/")  # what a path makes of a URL


def check_place(place: str | Path) -> str | Path:
    """Check where a memory is to be opened.

    Raises:
        InvalidInputError: If it is no path that a file may have, or a URL that was made a path.
    """
    if isinstance(place, str) and is_address(place):
        return place
    path = check_path("path", place)
    if str(place).startswith(_CUT):
        raise InvalidInputError(  # without what it was given: that may have a password
            "expected the URL of a server as a string, got a path that was made of one",
            "Call Memory.open with the string.",
        )
    return path


def shown_place(place: str | Path) -> str | Path:
    """A place as it may be shown: a URL without user and password."""
    return shown_address(place) if isinstance(place, str) and is_address(place) else place

"""Where a memory is opened: a directory, or a schema of a PostgreSQL server."""

from __future__ import annotations

from pathlib import Path

from memkit.errors import InvalidInputError, UnsupportedOperationError
from memkit.ledger import is_address
from memkit.types import BackendName
from memkit.types.validate import check_path

WITHOUT_ADAPTERS: tuple[BackendName, ...] = ("buffer", "rag")
_CUT = ("postgresql:/", "postgres:/")  # what a path makes of a URL


def check_place(place: str | Path, names: tuple[str, ...]) -> str | Path:
    """Check where a memory is to be opened, with backends of these names.

    Raises:
        InvalidInputError: If it is no path that a file may have, or a URL that was made a path.
        UnsupportedOperationError: If a server is to keep adapters, which none does yet.
    """
    if not (isinstance(place, str) and is_address(place)):
        path = check_path("path", place)
        if str(place).startswith(_CUT):
            raise InvalidInputError(
                f"expected the URL of a server as a string, got the path {str(place)!r}",
                "Call Memory.open with the string; the command line takes directories only.",
            )
        return path
    if "lora" in names:
        raise UnsupportedOperationError(
            "adapters cannot be kept on a PostgreSQL server yet, the memory is to be opened with "
            f"the backends {list(names)}",
            f"Open it with backends={list(WITHOUT_ADAPTERS)}.",
        )
    return place

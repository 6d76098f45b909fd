"""Turns the errors of SQLite and of the operating system into memkit's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memkit.errors import (
    BackendError,
    BusyError,
    CorruptFileError,
    DiskFullError,
    MemkitError,
    ReadOnlyError,
)

# SQLite's primary result codes (https://sqlite.org/rescode.html).
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN}


@contextmanager
def mapped(path: Path, wait: float) -> Iterator[None]:
    """Raise memkit's counterpart of any SQLite error that comes; locks were waited for so long."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _translate(exc, path, wait) from exc
    except UnicodeDecodeError as exc:  # of what SQLite says about a damaged file
        raise CorruptFileError(
            f"expected text in {str(path)!r}, found bytes that are none",
            "`memkit check` says what is damaged; restore the file from a backup.",
        ) from exc


def busy(path: Path, wait: float) -> BusyError:
    """Say that a lock could not be had in time."""
    return BusyError(
        f"waited {wait:g} s for a lock on {str(path)!r}, which another process or thread holds",
        "Try again, or open the memory with a longer wait.",
    )


def read_only(path: Path, why: object) -> ReadOnlyError:
    """Say that a database cannot be written to."""
    return ReadOnlyError(
        f"{str(path)!r} cannot be opened or written to: {why}",
        "Check the owner and permissions of the directory, and how it is mounted.",
    )


def _translate(exc: sqlite3.Error, path: Path, wait: float) -> MemkitError:
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _BUSY:
        return busy(path, wait)
    if code == sqlite3.SQLITE_FULL:
        return DiskFullError(
            f"no room left to write to {str(path)!r}; what was stored before is intact",
            "Free some space and try again.",
        )
    if code in _READ_ONLY:
        return read_only(path, exc)
    if code in _CORRUPT:
        return CorruptFileError(
            f"expected a readable ledger in {str(path)!r}: {exc}", "Restore the file from a backup."
        )
    return BackendError(f"SQLite failed on {str(path)!r}: {exc}")

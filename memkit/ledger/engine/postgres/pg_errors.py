"""Turns the errors of PostgreSQL and of its connections into memkit's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import psycopg_pool
from psycopg import errors

from memkit.errors import (
    BackendError,
    BusyError,
    ConnectionLostError,
    DirectoryChangedError,
    DiskFullError,
    InvalidInputError,
    MemkitError,
    ReadOnlyError,
)

_BUSY = (
    errors.LockNotAvailable,
    errors.SerializationFailure,
    errors.DeadlockDetected,
    psycopg_pool.PoolTimeout,
    psycopg_pool.TooManyRequests,
)
_FULL = (errors.DiskFull, errors.OutOfMemory)
_READ_ONLY = (errors.ReadOnlySqlTransaction, errors.InsufficientPrivilege)
_GONE = (errors.UndefinedTable, errors.InvalidSchemaName)
_LOST = (psycopg.OperationalError, psycopg.InterfaceError)


@contextmanager
def mapped(shown: str, wait: float, *, committing: bool = False) -> Iterator[None]:
    """Raise memkit's counterpart of any error of PostgreSQL that comes.

    Args:
        shown: The address, as messages may say it.
        wait: How long locks and connections were waited for, in seconds.
        committing: Whether a lost connection leaves open what has happened.
    """
    try:
        yield
    except (psycopg.Error, psycopg_pool.PoolTimeout, psycopg_pool.TooManyRequests) as exc:
        raise _translate(exc, shown, wait, committing=committing) from exc


def read_only(shown: str) -> ReadOnlyError:
    """Say that a memory cannot be written to."""
    return ReadOnlyError(
        f"{shown} cannot be written to: the server or the role allows reading only",
        "Connect to the primary server, as the role that owns the schema.",
    )


def _translate(exc: Exception, shown: str, wait: float, *, committing: bool) -> MemkitError:
    if isinstance(exc, _BUSY):
        error: MemkitError = BusyError(
            f"waited {wait:g} s for a lock or a connection of {shown}, which others hold",
            "Try again, or open the memory with a longer wait.",
        )
    elif isinstance(exc, _FULL):
        error = DiskFullError(
            f"the server of {shown} has no room left; what was stored before is intact",
            "Free some space there and try again.",
        )
    elif isinstance(exc, errors.ProgramLimitExceeded):
        error = InvalidInputError(
            f"a scope or a namespace is too long, with its key, for an index of {shown}",
            "Together they have 2,700 bytes at most, unless PostgreSQL can make them smaller.",
        )
    elif isinstance(exc, _READ_ONLY):
        error = read_only(shown)
    elif isinstance(exc, _GONE):
        error = DirectoryChangedError(
            f"expected the memory that was opened at {shown}, its tables are gone: the schema "
            "was removed or replaced while it was open",
            "Close the memory before its schema is dropped or restored, and open it again.",
        )
    elif isinstance(exc, errors.QueryCanceled):  # which psycopg counts among what was lost
        error = BackendError(
            f"a statement was cancelled on {shown}, and nothing of this call was stored: "
            f"{exc.diag.message_primary}",
            "Try again, or raise `statement_timeout` for the role if that ended it.",
        )
    elif isinstance(exc, _LOST):
        error = _lost(exc, shown, committing=committing)
    else:
        # Not what the error says besides: that may quote what was stored.
        primary = getattr(getattr(exc, "diag", None), "message_primary", None)
        error = BackendError(f"PostgreSQL failed on {shown}: {primary or type(exc).__name__}")
    return error


def _lost(exc: Exception, shown: str, *, committing: bool) -> ConnectionLostError:
    if committing:
        return ConnectionLostError(
            f"the connection to {shown} was lost while a transaction was being committed: it is "
            "stored as a whole, or not at all",
            "Look whether it is there. `add` may be repeated: the same text is stored once.",
        )
    return ConnectionLostError(
        f"there is no connection to {shown}, and nothing of this transaction was stored: {exc}",
        "Check that the server runs and accepts connections, and try again.",
    )

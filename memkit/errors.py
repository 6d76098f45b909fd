"""The tree of errors that memkit raises.

    MemkitError
    ├ InvalidInputError (ValueError)
    │ ├ DimensionMismatchError
    │ └ NonFiniteError
    ├ NotFoundError (LookupError)
    │ ├ RecordNotFoundError
    │ └ ModuleNotFoundInMemoryError
    ├ IncompatibleModelError            an adapter or index was made for another model
    ├ StorageError (OSError)
    │ ├ NotAMemoryError                 the directory holds something else
    │ ├ CorruptFileError                a file fails its checksum or cannot be parsed
    │ ├ FormatVersionError              written by a newer memkit
    │ ├ ReadOnlyError                   the directory cannot be written to
    │ ├ DiskFullError
    │ ├ UnsafePathError                 a file of the memory is, or leads to, another one
    │ ├ DirectoryChangedError           the directory was removed or replaced while it was open
    │ ├ DestructionPendingError         what was forgotten is gone, its bytes not yet
    │ ├ BusyError (TimeoutError)        another process holds the lock for too long
    │ └ ConnectionLostError (ConnectionError)    there is no connection to the server, or no more
    ├ UnsupportedOperationError (NotImplementedError)
    ├ MissingDependencyError (ImportError)
    ├ ModelUnavailableError             no source has the model
    ├ IncompleteAnswerError             tokens ran out within JSON or a call of a tool
    ├ TrainingError                     a training run diverged or had nothing to learn
    └ BackendError                      wraps an error of faiss, torch, SQLite or PostgreSQL

Every message says what was expected and what came; ``hint`` says what to do about it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "BackendError",
    "BusyError",
    "ConnectionLostError",
    "CorruptFileError",
    "DestructionPendingError",
    "DimensionMismatchError",
    "DirectoryChangedError",
    "DiskFullError",
    "FormatVersionError",
    "IncompatibleModelError",
    "IncompleteAnswerError",
    "InvalidInputError",
    "MemkitError",
    "MissingDependencyError",
    "ModelUnavailableError",
    "ModuleNotFoundInMemoryError",
    "NonFiniteError",
    "NotAMemoryError",
    "NotFoundError",
    "ReadOnlyError",
    "RecordNotFoundError",
    "StorageError",
    "TrainingError",
    "UnsafePathError",
    "UnsupportedOperationError",
]


class MemkitError(Exception):
    """Base class of every error that memkit raises on purpose.

    Args:
        message: What was expected and what came.
        hint: What the caller can do about it; empty if there is nothing to add.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        # Both go to `args`, so that the error survives pickling between processes.
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nHint: {self.hint}" if self.hint else self.message


class InvalidInputError(MemkitError, ValueError):
    """An argument is of the wrong type, empty, out of range or malformed."""


class DimensionMismatchError(InvalidInputError):
    """Vectors have another dimension than the index they meet."""


class NonFiniteError(InvalidInputError):
    """An array holds NaN or infinity."""


class NotFoundError(MemkitError, LookupError):
    """The memory holds nothing of this id or name."""


class RecordNotFoundError(NotFoundError):
    """No record has this id, or none that this scope may see."""


class ModuleNotFoundInMemoryError(NotFoundError):
    """No adapter module has this name or version."""


class IncompatibleModelError(MemkitError):
    """An adapter or an index was made for another base model or embedder."""


class StorageError(MemkitError, OSError):
    """The memory's directory could not be read or written."""


class NotAMemoryError(StorageError):
    """The path exists and is not a memkit memory."""


class CorruptFileError(StorageError):
    """A file fails its checksum or cannot be parsed."""


class FormatVersionError(StorageError):
    """A file was written by a newer version of memkit."""


class ReadOnlyError(StorageError):
    """The memory's directory does not allow writing."""


class DiskFullError(StorageError):
    """The disk had no room for a write; the files are as they were before."""


class UnsafePathError(StorageError):
    """A path that the memory names lies outside of it, or is a link to another file."""


class DirectoryChangedError(StorageError):
    """The memory's directory was removed, moved or replaced while it was open."""


class DestructionPendingError(StorageError):
    """What was forgotten is out of the memory, but its bytes could not be destroyed yet."""


class BusyError(StorageError, TimeoutError):
    """Another process or thread held a lock for longer than the bounded wait."""


class ConnectionLostError(StorageError, ConnectionError):
    """A database server cannot be reached, or the connection was cut."""


class UnsupportedOperationError(MemkitError, NotImplementedError):
    """The configured backends cannot serve this verb."""


class MissingDependencyError(MemkitError, ImportError):
    """An optional dependency is not installed."""


class ModelUnavailableError(MemkitError):
    """No source has the requested model."""


class IncompleteAnswerError(MemkitError):
    """An answer that has to fit a schema was not whole when its tokens ran out."""


class TrainingError(MemkitError):
    """A training run diverged, or had nothing to learn."""


class BackendError(MemkitError):
    """Wraps an error of faiss, torch, SQLite or PostgreSQL that no other class fits."""


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors about a file into memkit's."""
    try:
        yield
    except MemkitError:
        raise  # some are OSErrors, too
    except OSError as exc:
        if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(f"no room on the disk to write {path}") from exc
        if exc.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise ReadOnlyError(f"not allowed to access {path}: {exc.strerror}") from exc
        raise StorageError(f"could not access {path}: {exc}") from exc

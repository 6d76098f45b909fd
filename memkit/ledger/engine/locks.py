"""The locks that keep two processes from changing a memory's adapters or embedder at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal, Protocol

import filelock

from memkit.errors import BusyError, storage_errors
from memkit.files import file_lock

LockName = Literal["adapters", "embedding"]


class Lockable(Protocol):
    """A database, or the ledger that is in one; see `Database.lock`."""

    @property
    def lock(self) -> Lock:
        """Gives a lock by its name."""


class Lock(Protocol):
    """Gives a lock that all who have the memory open share."""

    def __call__(
        self, name: LockName, timeout: float, busy: BusyError
    ) -> AbstractContextManager[None]:
        """Hold the lock; ``busy`` is raised if others hold it for longer than ``timeout`` s."""


def adapters_lock(memory: Lockable, timeout: float) -> AbstractContextManager[None]:
    """Hold the lock of a memory's adapters; ``timeout`` in seconds.

    Raises:
        BusyError: If another process, thread or machine holds it for longer.
        ReadOnlyError: If the directory cannot be written to.
    """
    busy = BusyError(
        f"another process or thread has been training this memory's adapters for {timeout:g} s",
        hint="wait until it is done; records are answered by rag meanwhile",
    )
    return memory.lock("adapters", timeout, busy)


def embedding_lock(memory: Lockable) -> AbstractContextManager[None]:
    """Be the only one who changes a memory's embedder.

    Raises:
        BusyError: If another process, thread or machine does.
    """
    busy = BusyError(
        "another process or thread is embedding this memory anew",
        hint="wait until it is done, and open the memory with the embedder that it has then",
    )
    return memory.lock("embedding", 0, busy)


def lock_file(name: LockName) -> str:
    """The name of the file that is a lock of a memory in a directory."""
    return f"{name}.lock"


@contextmanager
def held_file(path: Path, timeout: float, busy: BusyError) -> Iterator[None]:
    """Hold a lock that is a file."""
    with storage_errors(path.parent):
        lock = file_lock(path)
        try:
            lock.acquire(timeout=timeout)
        except filelock.Timeout as exc:
            raise busy from exc
    try:
        yield
    finally:
        lock.release()

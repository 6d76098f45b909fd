"""The locks that keep two processes from changing a memory's adapters or embedder at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import filelock

from memkit.errors import BusyError, storage_errors
from memkit.files import file_lock

FILE = "adapters.lock"
EMBEDDING = "embedding.lock"


def adapters_lock(directory: Path, timeout: float) -> AbstractContextManager[None]:
    """Hold the lock of a memory's adapter files; ``timeout`` in seconds.

    Raises:
        BusyError: If another process or thread holds it for longer.
        ReadOnlyError: If the directory cannot be written to.
    """
    busy = BusyError(
        f"another process or thread has been training this memory's adapters for {timeout:g} s",
        hint="wait until it is done; records are answered by rag meanwhile",
    )
    return _held(directory / FILE, timeout, busy)


def embedding_lock(directory: Path) -> AbstractContextManager[None]:
    """Be the only one who changes a memory's embedder.

    Raises:
        BusyError: If another process or thread does.
    """
    busy = BusyError(
        "another process or thread is embedding this memory anew",
        hint="wait until it is done, and open the memory with the embedder that it has then",
    )
    return _held(directory / EMBEDDING, 0, busy)


@contextmanager
def _held(path: Path, timeout: float, busy: BusyError) -> Iterator[None]:
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

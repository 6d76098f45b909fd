"""The lock that keeps two processes from changing a memory's adapters at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from memkit.errors import BusyError
from memkit.ledger.failures import storage_errors

FILE = "adapters.lock"


@contextmanager
def adapters_lock(directory: Path, timeout: float) -> Iterator[None]:
    """Hold the lock of a memory's adapter files.

    Args:
        directory: The memory's directory.
        timeout: Bound on waiting, in seconds; 0 does not wait.

    Raises:
        BusyError: If another process or thread holds it for longer.
        ReadOnlyError: If the directory cannot be written to.
    """
    lock = filelock.FileLock(directory / FILE, thread_local=False)
    with storage_errors(directory):
        try:
            lock.acquire(timeout=timeout)
        except filelock.Timeout as exc:
            raise BusyError(
                "another process or thread has been training this memory's adapters for "
                f"{timeout:g} s",
                hint="wait until it is done; records are answered by rag meanwhile",
            ) from exc
    try:
        yield
    finally:
        lock.release()

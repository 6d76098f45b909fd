"""One thread at a time uses a model: what it computes depends on the adapters in place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from memkit.errors import BusyError, UnsupportedOperationError


class ModelLock:
    """A lock with bounded waiting; a stream may release it in another thread than it took it in.

    Args:
        wait: The longest that a thread waits, in seconds.
    """

    def __init__(self, wait: float = 600.0) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._wait = wait

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock for the enclosed block.

        Raises:
            UnsupportedOperationError: If this thread holds it already: waiting would last
                forever.
            BusyError: If another thread holds it for too long.
        """
        me = threading.get_ident()
        if self._owner == me:
            raise UnsupportedOperationError(
                "this thread is still streaming an answer from the same model",
                "Read the stream to its end or close() it before asking again.",
            )
        if not self._lock.acquire(timeout=self._wait):
            raise BusyError(f"another thread has been using the model for {self._wait:g} s")
        self._owner = me
        try:
            yield
        finally:
            self._owner = None
            self._lock.release()

"""Taking turns at one model: what it computes depends on the adapters in place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from memkit.errors import BusyError, UnsupportedOperationError


class Turn:
    """Lets one thread at a time use the model; the lock of a stream may end in another thread.

    Args:
        wait: Bound on waiting for one's turn, in seconds.
    """

    def __init__(self, wait: float = 600.0) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._wait = wait

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold the model for the enclosed block.

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

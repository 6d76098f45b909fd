"""One thread at a time uses a model: what it computes depends on the adapters in place."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from memkit.errors import BusyError, UnsupportedOperationError


class ModelLock:
    """A lock that threads get in the order in which they come, with bounded waiting.

    A stream may release it in another thread than it took it in.

    Args:
        wait: The longest that a thread waits, in seconds.
    """

    def __init__(self, wait: float = 600.0) -> None:
        self._mutex = threading.Lock()  # for what follows
        self._owner: int | None = None
        self._taken = False
        self._waiting: deque[threading.Event] = deque()
        self._wait = wait

    @property
    def mine(self) -> bool:
        """Whether this thread holds it."""
        return self._owner == threading.get_ident()

    @property
    def wanted(self) -> bool:
        """Whether others wait for it."""
        return bool(self._waiting)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock for the enclosed block.

        Raises:
            UnsupportedOperationError: If this thread holds it already: waiting would last
                forever.
            BusyError: If another thread holds it for too long.
        """
        if self.mine:
            raise UnsupportedOperationError(
                "this thread is still streaming an answer from the same model",
                "Read the stream to its end or close() it before asking again.",
            )
        self._take()
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = None
            self._pass_on()

    def _take(self) -> None:
        turn = threading.Event()
        with self._mutex:
            if not self._taken:
                self._taken = True
                return
            self._waiting.append(turn)
        try:
            turn.wait(self._wait)
        finally:
            with self._mutex:
                # It was passed on to this thread, unless it still waits: for too long, or as
                # Ctrl-C has come.
                late = turn in self._waiting
                if late:
                    self._waiting.remove(turn)
        if late:
            raise BusyError(f"another thread has been using the model for {self._wait:g} s")

    def _pass_on(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False

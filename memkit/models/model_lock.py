"""One thread at a time uses a model: what it computes depends on the adapters in place."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from memkit.errors import BusyError, UnsupportedOperationError

PATIENCE = 2.0  # seconds for which who is patient lets all others go first


@dataclass(eq=False)
class _Waiting:
    """A thread that waits.

    Attributes:
        patient: Whether others may go first, for a while.
        since: By the monotonic clock, in seconds.
        turn: Set once it has the lock.
    """

    patient: bool
    since: float = field(default_factory=time.monotonic)
    turn: threading.Event = field(default_factory=threading.Event)

    @property
    def pressing(self) -> bool:
        """Whether nobody who comes later may go first."""
        return not self.patient or time.monotonic() - self.since >= PATIENCE


class ModelLock:
    """A lock that threads get in the order in which they come, with bounded waiting.

    Those who are patient, such as training, let others go first for a while, so that an answer
    does not wait for a step of training at each of its tokens. A stream may release the lock in
    another thread than it took it in.

    Args:
        wait: The longest that a thread waits, in seconds.
    """

    def __init__(self, wait: float = 600.0) -> None:
        # For what follows; the garbage collector may close a stream, and so pass the lock on, in
        # the midst of it.
        self._mutex = threading.RLock()
        self._owner: int | None = None
        self._taken = False
        self._waiting: list[_Waiting] = []
        self._wait = wait

    @property
    def mine(self) -> bool:
        """Whether this thread holds it."""
        return self._owner == threading.get_ident()

    @property
    def wanted(self) -> bool:
        """Whether others wait for it who should not wait any longer."""
        return any(waiting.pressing for waiting in list(self._waiting))

    @contextmanager
    def hold(self, *, patient: bool = False) -> Iterator[None]:
        """Hold the lock for the enclosed block.

        Args:
            patient: Let others go first, for a while.

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
        self._take(_Waiting(patient))
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = None
            self._pass_on()

    def _take(self, waiting: _Waiting) -> None:
        with self._mutex:
            self._waiting.append(waiting)
            if not self._taken:
                self._taken = True
                self._waiting.remove(waiting)
                return
        try:
            waiting.turn.wait(self._wait)
        finally:
            with self._mutex:
                # It was passed on to this thread, unless it still waits: for too long, or as
                # Ctrl-C has come.
                late = waiting in self._waiting
                if late:
                    self._waiting.remove(waiting)
        if late:
            raise BusyError(f"another thread has been using the model for {self._wait:g} s")

    def _pass_on(self) -> None:
        with self._mutex:
            self._taken = bool(self._waiting)
            if self._taken:
                first = next((each for each in self._waiting if each.pressing), self._waiting[0])
                self._waiting.remove(first)
                first.turn.set()

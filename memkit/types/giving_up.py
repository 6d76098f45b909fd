"""Lets a thread know that nobody waits for its answer any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class GivingUp:
    """Says to whoever computes something that it is not wanted any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake: Callable[[], object] | None = None
        self.given_up = False

    def give_up(self) -> None:
        """Say so; from any thread."""
        with self._lock:
            self.given_up = True
            wake = self._wake
        if wake is not None:
            wake()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Have something called, in another thread, if it is said within the block."""
        with self._lock:
            self._wake = wake
        try:
            yield
        finally:
            with self._lock:
                self._wake = None


_NEVER = GivingUp()
_current: ContextVar[GivingUp] = ContextVar("memkit_giving_up", default=_NEVER)


@contextmanager
def may_give_up() -> Iterator[GivingUp]:
    """What is asked for within the block, in contexts copied from it as well, can be given up."""
    giving_up = GivingUp()
    token = _current.set(giving_up)
    try:
        yield giving_up
    finally:
        _current.reset(token)


def giving_up() -> GivingUp | None:
    """What says whether this thread's answer is wanted; None if nobody would say it."""
    current = _current.get()
    return None if current is _NEVER else current

"""A gate that many pass at once, and that one can close for a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from memkit.errors import DimensionMismatchError

P = ParamSpec("P")
R = TypeVar("R")


class ReadWriteLock:
    """Lets readers through together; whoever closes it waits until they have left.

    Who is inside may enter again, also while somebody waits to close it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closing = False
        self._mine = threading.local()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Be inside within the block; wait before it while the gate is closed."""
        depth = getattr(self._mine, "depth", 0)
        with self._changed:
            while self._closing and not depth:
                self._changed.wait()
            self._inside += 1
        self._mine.depth = depth + 1
        try:
            yield
        finally:
            self._mine.depth = depth
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Be alone within the block."""
        with self._changed:
            while self._closing:
                self._changed.wait()
            self._closing = True
            while self._inside:
                self._changed.wait()
        try:
            yield
        finally:
            with self._changed:
                self._closing = False
                self._changed.notify_all()


class _Gated(Protocol):
    """What has a gate, behind which the embedder is changed."""

    @property
    def _gate(self) -> ReadWriteLock: ...

    def _check_embedder(self) -> None: ...


G = TypeVar("G", bound=_Gated)


def through_gate(method: Callable[Concatenate[G, P], R]) -> Callable[Concatenate[G, P], R]:
    """Let a method see one embedder from beginning to end, or raise."""

    @wraps(method)
    def looked_after(self: G, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._gate.passing():
            self._check_embedder()
            try:
                result = method(self, *args, **kwargs)
            except DimensionMismatchError:
                self._check_embedder()
                raise
            self._check_embedder()  # another process may have changed it meanwhile
            return result

    return looked_after

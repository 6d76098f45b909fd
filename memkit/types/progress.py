"""How far a training run has come, told to whoever watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from memkit.types.value import Value


@dataclass(frozen=True)
class Progress(Value):
    """How far a training run has come.

    Attributes:
        module: Number of the module that is being trained, from 1.
        modules: How many modules the run trains.
        epochs: Passes over the facts that are done, of all modules together.
        total: How many passes there will be; facts that are learned early make them fewer.
        mastered: Share of the module's facts that it has learned so far.
    """

    module: int
    modules: int
    epochs: int
    total: int
    mastered: float

    def __str__(self) -> str:
        return f"module {self.module} of {self.modules}, {self.mastered:.0%} mastered"


Watcher = Callable[[Progress], None]

_watcher: ContextVar[Watcher | None] = ContextVar("memkit_progress_watcher", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Tell ``watcher`` of the progress of what is trained in the enclosed block.

    It is called in the thread that trains, so it should be quick. What `memkit.AsyncMemory` runs
    in a thread of its own is watched as well.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def tell(progress: Progress) -> None:
    """Tell the watcher, if there is one."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(progress)

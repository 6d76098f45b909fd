"""Rows that are decoded by themselves, by whoever holds the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from memkit.models.answer_row import Row
from memkit.models.decode_batch import Batch, Reader
from memkit.models.model_lock import ModelLock

if TYPE_CHECKING:
    from memkit.models.decode_shared import Waiting


@contextmanager
def alone(
    base: Reader,
    lock: ModelLock,
    rows: Sequence[Row],
    adapters: AbstractContextManager[object] | None,
) -> Iterator[Waiting]:
    """Hold the model, unless this thread does, and decode rows until they need no more.

    Args:
        base: The model.
        lock: Its own.
        rows: What is decoded.
        adapters: Act on all rows from their questions on; None for those that rows have.
    """
    batch = _Whole(base, adapters) if adapters else Batch(base, changes=base.splits)
    entering = list(rows)

    def wait(ready: Callable[[], bool]) -> None:
        if entering:
            batch.admit(entering)
            entering.clear()
        while not ready():
            batch.step()

    with nullcontext() if lock.mine else lock.hold():
        try:
            yield wait
        finally:
            batch.leave()


class _Whole(Batch):
    """A batch whose adapters act on all of its rows, and cannot be told apart."""

    def __init__(self, base: Reader, adapters: AbstractContextManager[object]) -> None:
        super().__init__(base, changes=False)
        self._adapters = adapters

    def _adapters_of(self, _: Sequence[Row]) -> Iterator[AbstractContextManager[object]]:
        yield self._adapters

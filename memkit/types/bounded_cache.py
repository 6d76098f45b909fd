"""What is kept because it may be needed again, up to so many bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from memkit.types.reports import CacheUse

Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")


class BoundedCache(Generic[Key, Kept]):
    """Keeps values up to a bound in bytes; those that were used least recently go first.

    Not safe across threads by itself.

    Args:
        bound: In bytes, >= 0. A value that is larger is not kept at all.
        size: How many bytes a value takes.

    Attributes:
        used: Bytes that are taken now.
    """

    def __init__(self, bound: int, size: Callable[[Kept], int]) -> None:
        self.bound = bound
        self.used = 0
        self._size = size
        self._kept: OrderedDict[Key, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    def __iter__(self) -> Iterator[Key]:
        """Keys, the least recently used first."""
        return iter(self._kept)

    @property
    def use(self) -> CacheUse:
        """What it takes and may take."""
        return CacheUse(self.used, self.bound)

    @property
    def room(self) -> int:
        """How many bytes are free."""
        return self.bound - self.used

    def get(self, key: Key) -> Kept | None:
        """A value, which counts as used now; None if it is not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Key, value: Kept) -> None:
        """Keep a value, in place of another of its key, and let go of what is beyond the bound."""
        self.drop(key)
        size = self._size(value)
        if size > self.bound:
            return
        while self.room < size:
            self.drop(next(iter(self._kept)))
        self._kept[key] = value
        self.used += size

    def drop(self, key: Key) -> None:
        """Let go of a value; unknown keys are no error."""
        if key in self._kept:
            self.used -= self._size(self._kept.pop(key))

    def clear(self) -> None:
        """Let go of everything."""
        self._kept.clear()
        self.used = 0

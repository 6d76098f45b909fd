"""A large index that never changes, with a small exact one on top for what has changed since."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from memkit.rag.vectors.flat import FlatIndex, Mask, mask
from memkit.rag.vectors.ivf import IvfIndex

if TYPE_CHECKING:
    from memkit.protocols import Floats2d


class TieredIndex:
    """Vectors under integer keys, in a base and a tail.

    Whatever the ledger has added or removed since the base was built is left out of the base,
    and is found in the tail if it is still there. So a key that the base has, too, does no harm.

    Args:
        dim: Dimension of the vectors.
    """

    def __init__(self, dim: int) -> None:
        self.base: IvfIndex | None = None
        self.tail = FlatIndex(dim)
        self._moved: Mask = np.zeros(0, bool)  # keys that the base no longer speaks for

    def __len__(self) -> int:
        return len(self.tail) + self._standing()

    def take(self, touched: NDArray[np.int64], keys: NDArray[np.int64], vectors: Floats2d) -> None:
        """Follow a step of the ledger.

        Args:
            touched: Keys that were added or removed, shape ``(n,)``.
            keys: Those of them that are there now, shape ``(m,)``.
            vectors: Their vectors, shape ``(m, dim)``.
        """
        self.tail.remove(touched)
        self._moved |= mask(touched, len(self._moved))
        if len(keys):
            self.tail.add(keys, vectors)

    def rebase(self, base: IvfIndex, touched: NDArray[np.int64]) -> None:
        """Stand on another base.

        Args:
            base: It has seen no more changes than the tail has.
            touched: Keys that were added or removed since it was built.
        """
        self.base = base
        self._moved = mask(touched, base.head.top)
        keys, vectors = self.tail.rows()
        left = np.isin(keys, touched)
        self.tail = FlatIndex(self.tail.dim)  # anew, as FAISS keeps the room of what is removed
        self.tail.add(keys[left], vectors[left])

    def search(
        self, queries: Floats2d, *, k: int, allowed: NDArray[np.int64] | None
    ) -> list[list[tuple[int, float]]]:
        """As `FlatIndex.search`, over both layers."""
        rows = self.tail.search(queries, k=k, allowed=allowed)
        if self.base is None:
            return rows
        more = self.base.search(queries, k=k, allowed=self._mask(allowed))
        return [
            sorted(one + other, key=lambda pair: (-pair[1], pair[0]))[:k]
            for one, other in zip(rows, more, strict=True)
        ]

    def _mask(self, allowed: NDArray[np.int64] | None) -> Mask | None:
        if allowed is None:
            return ~self._moved if self._moved.any() else None
        return mask(allowed, len(self._moved)) & ~self._moved

    def _standing(self) -> int:
        """How many vectors of the base still count."""
        if self.base is None:
            return 0
        if not self._moved.any():
            return len(self.base)
        return int(((self.base.assignment() >= 0) & ~self._moved).sum())

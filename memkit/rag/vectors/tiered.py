"""A large index that never changes, and a small exact one beside it for what changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from memkit.rag.vectors.flat import FlatIndex, Mask, mask
from memkit.rag.vectors.ivf import IvfIndex

if TYPE_CHECKING:
    from memkit.protocols import Floats2d


class TieredIndex:
    """An IVF base and a flat tail; implements `memkit.protocols.VectorIndex`.

    Keys that were added or removed since the base was built are ignored in the base; those that
    still exist are in the tail. So a key may be in both.

    Attributes:
        base: Holds the bulk of the vectors; None while they are few.
        tail: Holds the rest.
    """

    def __init__(self, dim: int) -> None:
        self.base: IvfIndex | None = None
        self.tail = FlatIndex(dim)
        self._ignored: Mask = np.zeros(0, bool)  # keys of the base that changed since

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self.tail.dim

    def __len__(self) -> int:
        return len(self.tail) + self._in_base()

    def apply(self, touched: NDArray[np.int64], keys: NDArray[np.int64], vectors: Floats2d) -> None:
        """Follow a batch of changes.

        Args:
            touched: Keys that were added or removed, shape ``(n,)``.
            keys: Those of them that exist now, shape ``(m,)``.
            vectors: Their vectors, shape ``(m, dim)``.
        """
        self.tail.remove(touched)
        self._ignored |= mask(touched, len(self._ignored))
        if len(keys):
            self.tail.add(keys, vectors)

    def rebase(self, base: IvfIndex, touched: NDArray[np.int64]) -> None:
        """Take another base, and keep in the tail only what it does not hold.

        Args:
            base: It has seen no more changes than the tail has.
            touched: Keys that were added or removed since it was built.
        """
        self.base = base
        self._ignored = mask(touched, base.head.top)
        keys, vectors = self.tail.rows()
        stays = np.isin(keys, touched)
        self.tail = FlatIndex(self.dim)  # anew, as FAISS keeps the room of what is removed
        self.tail.add(keys[stays], vectors[stays])

    def search(
        self, queries: Floats2d, *, k: int, allowed: NDArray[np.int64] | None = None
    ) -> list[list[tuple[int, float]]]:
        """Search both; see `memkit.protocols.VectorIndex.search`. Equal ones come by key."""
        in_tail = self.tail.search(queries, k=k, allowed=allowed)
        if self.base is None:
            return in_tail
        in_base = self.base.search_masked(queries, k=k, allowed=self._mask(allowed))
        return [
            sorted(tail + base, key=lambda pair: (-pair[1], pair[0]))[:k]
            for tail, base in zip(in_tail, in_base, strict=True)
        ]

    def _mask(self, allowed: NDArray[np.int64] | None) -> Mask | None:
        if allowed is None:
            return ~self._ignored if self._ignored.any() else None
        return mask(allowed, len(self._ignored)) & ~self._ignored

    def _in_base(self) -> int:
        """How many vectors of the base still count."""
        if self.base is None:
            return 0
        if not self._ignored.any():
            return len(self.base)
        return int(((self.base.assignment() >= 0) & ~self._ignored).sum())

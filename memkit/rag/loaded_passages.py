"""The passages that one search has read, with their vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from memkit.ledger import Ledger, Passage

if TYPE_CHECKING:
    from memkit.protocols import Floats2d


class LoadedPassages(Mapping[int, Passage]):
    """Passages by key, each read from the ledger once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._passages: dict[int, Passage] = {}
        self._vectors: list[tuple[NDArray[np.int64], Floats2d]] = []
        self._asked: set[int] = set()

    def __getitem__(self, key: int) -> Passage:
        return self._passages[key]

    def __iter__(self) -> Iterator[int]:
        return iter(self._passages)

    def __len__(self) -> int:
        return len(self._passages)

    def load(self, keys: Iterable[int]) -> None:
        """Read those of the passages that exist and are not expired, unless they were read."""
        new = [key for key in dict.fromkeys(keys) if key not in self._asked]
        self._asked.update(new)
        if new:
            passages, vectors = self._ledger.passages.with_vectors(new)
            self._passages |= passages
            self._vectors.append((np.array(list(passages), np.int64), vectors))

    def add(self, passages: Mapping[int, Passage]) -> None:
        """Take in passages that were read elsewhere; their vectors are read here."""
        new = {key: passage for key, passage in passages.items() if key not in self._passages}
        if new:
            self._passages |= new
            self._asked |= new.keys()
            self._vectors.append(self._ledger.passages.vectors(list(new)))

    def record_ids(self) -> list[str]:
        """Ids of their records, each once."""
        return list(dict.fromkeys(passage.record_id for passage in self.values()))

    def vectors(self) -> tuple[NDArray[np.int64], Floats2d]:
        """Keys of those that have vectors, ascending, shape ``(n,)``, and these, ``(n, dim)``."""
        filled = [part for part in self._vectors if len(part[0])]
        if not filled:
            return np.empty(0, np.int64), np.empty((0, 0), np.float32)
        keys = np.concatenate([keys for keys, _ in filled])
        order = np.argsort(keys)
        return keys[order], np.concatenate([vectors for _, vectors in filled])[order]

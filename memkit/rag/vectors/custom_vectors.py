"""The ledger's passage vectors in a vector index of the caller's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from memkit.errors import InvalidInputError
from memkit.ledger import Ledger
from memkit.rag.vectors.flat import check_search
from memkit.rag.vectors.index_files import FILE, discard_files, hold_files
from memkit.rag.vectors.ledger_vectors import LedgerVectors

if TYPE_CHECKING:
    from memkit.protocols import Floats2d, VectorIndex, VectorIndexFactory
    from memkit.rag.vectors.ledger_vectors import Keys


class CustomVectors(LedgerVectors):
    """Fills an index from the ledger when the memory is opened, and holds it to its contract.

    Args:
        ledger: Where the vectors are.
        dim: Their length.
        make: Makes an empty index of that dimension.

    Raises:
        InvalidInputError: If what it makes is not empty, or is of another dimension.
    """

    def __init__(self, ledger: Ledger, dim: int, make: VectorIndexFactory) -> None:
        super().__init__(ledger, dim)
        self._index = make(dim)
        if (len(self._index), self._index.dim) != (0, dim):
            raise InvalidInputError(
                f"expected `vector_index` to make an empty index of dimension {dim}, got "
                f"{len(self._index)} vectors of dimension {self._index.dim}",
                hint="It is called with the dimension each time a memory is opened.",
            )
        self._checked = _Checked(self._index)
        self.sync()

    @property
    def index(self) -> VectorIndex:
        """The caller's index, behind checks of what it finds."""
        return self._checked

    def _apply(self, touched: Keys, keys: Keys, vectors: Floats2d) -> None:
        self._index.remove(touched)
        if len(keys):
            self._index.add(keys, vectors)

    def scrub(self) -> tuple[str, ...]:
        """Remove the files of memkit's own index, from a time when the memory had none but that.

        What the caller's index keeps was removed by `MutableVectorIndex.remove`.
        """
        self.sync()
        self._ledger.check_place()
        path = self._ledger.directory / FILE
        if not path.parent.is_dir():
            return ()
        with hold_files(path):
            return discard_files(path)

    def save(self) -> None:
        """There are no files: the next opening reads the ledger."""

    def close(self) -> None:
        """Nothing runs in the background."""


class _Checked:
    """An index whose answers are compared with what was asked; a wrong one is an error."""

    def __init__(self, index: VectorIndex) -> None:
        self._index = index
        self.dim = index.dim

    def __len__(self) -> int:
        return len(self._index)

    def search(
        self, queries: Floats2d, *, k: int, allowed: Keys | None = None
    ) -> list[list[tuple[int, float]]]:
        queries = check_search(queries, k=k, dim=self.dim)
        rows = self._index.search(queries, k=k, allowed=allowed)
        if len(rows) != len(queries):
            self._refuse(f"{len(queries)} lists, one for each query", f"{len(rows)}")
        for row in rows:
            self._check(row, k, allowed)
        return rows

    def _check(self, row: Sequence[tuple[int, float]], k: int, allowed: Keys | None) -> None:
        keys, scores = [key for key, _ in row], np.array([score for _, score in row])
        if len(keys) > k or len(set(keys)) < len(keys):
            self._refuse(f"at most {k} keys, each once", repr(keys))
        if not np.isfinite(scores).all() or (np.diff(scores) > 0).any():
            self._refuse("finite inner products, nearest first", repr(scores.tolist()))
        foreign = [] if allowed is None else np.setdiff1d(keys, allowed).tolist()
        if foreign:
            self._refuse("keys that are allowed", repr(foreign))

    def _refuse(self, expected: str, actual: str) -> None:
        raise InvalidInputError(
            f"expected the vector index to find {expected}, got {actual}",
            hint="`memkit.testing.MutableVectorIndexContract` tests an index of your own.",
        )

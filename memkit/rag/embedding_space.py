"""One embedder and what is made with it: vectors of texts, and the index over the passages'."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from memkit.ledger import Ledger
from memkit.protocols import Embedder
from memkit.rag.reembed import BATCH
from memkit.rag.vectors.custom_vectors import CustomVectors
from memkit.rag.vectors.flat import check_vectors
from memkit.rag.vectors.synced_index import SyncedIndex
from memkit.types import CacheUse
from memkit.types.bounded_cache import BoundedCache
from memkit.types.timings import step

if TYPE_CHECKING:
    from memkit.protocols import Floats2d, VectorIndexFactory
    from memkit.rag.vectors.ledger_vectors import LedgerVectors

QUIET = 200  # up to so many passages are embedded without a progress bar
# Of query vectors that are remembered, as search and router ask for the same ones: what is asked
# again soon. A dimension of 384 leaves room for some 8,000 of them, of 4,096 for 1,000.
CACHED_BYTES = 2**24


class _Vector(NamedTuple):
    """A query and its vector: a long text takes more room than that."""

    text: str
    values: Floats2d


def _bytes_of(vector: _Vector) -> int:
    return len(vector.text.encode()) + vector.values.nbytes


class EmbeddingSpace:
    """An embedder, the index of the ledger's vectors, and the vectors of recent queries.

    Vectors of two embedders must never be compared. So all that belongs to one embedder is in
    one object, which is replaced as a whole when the memory changes to another embedder.
    """

    def __init__(
        self, ledger: Ledger, embedder: Embedder, make_index: VectorIndexFactory | None = None
    ) -> None:
        self.embedder = embedder
        self._ledger = ledger
        self._make_index = make_index
        self._vectors: LedgerVectors | None = None
        self._loading = threading.Lock()
        self._cache: BoundedCache[str, _Vector] = BoundedCache(CACHED_BYTES, _bytes_of)
        self._cache_lock = threading.Lock()

    @property
    def cached(self) -> CacheUse:
        """What the vectors of recent queries take, and may take."""
        return self._cache.use

    @property
    def identity(self) -> tuple[str, str]:
        """Name and dimension of the embedder, as the ledger stores them."""
        return self.embedder.name, str(self.embedder.dim)

    @property
    def vectors(self) -> LedgerVectors:
        """The index of the ledger's vectors; loaded, or built, when it is first needed."""
        with self._loading:
            if self._vectors is None:
                dim, make = self.embedder.dim, self._make_index
                self._vectors = (
                    SyncedIndex(self._ledger, dim)
                    if make is None
                    else CustomVectors(self._ledger, dim, make)
                )
            return self._vectors

    def embed_passages(self, texts: Sequence[str], *, show: bool) -> Floats2d:
        """Embed passages in batches: shape ``(n, dim)``, float32, unit rows.

        ``show`` shows a progress bar if there are many.

        Raises:
            InvalidInputError: If the embedder returns something else than unit rows;
                `NonFiniteError` and `DimensionMismatchError` are its special cases.
        """
        dim = self.embedder.dim
        vectors: Floats2d = np.empty((len(texts), dim), np.float32)
        # Texts of like length go together, as an embedder pads each to the longest of its batch.
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        off = None if show and len(texts) > QUIET else True  # None: shown on a terminal only
        with tqdm(desc="embedding", unit="passage", total=len(texts), disable=off) as bar:
            for start in range(0, len(order), BATCH):
                places = order[start : start + BATCH]
                batch = [texts[place] for place in places]
                vectors[places] = check_vectors(
                    self.embedder.encode_document(batch), rows=len(batch), dim=dim
                )
                bar.update(len(batch))
        return vectors

    def embed_queries(self, texts: Sequence[str]) -> Floats2d:
        """Embed queries, or give the vectors of recent ones: as `embed_passages`."""
        dim = self.embedder.dim
        with self._cache_lock:
            kept = {text: self._cache.get(text) for text in texts}
        vectors = {text: vector.values for text, vector in kept.items() if vector is not None}
        unknown = list(dict.fromkeys(text for text in texts if text not in vectors))
        if unknown:
            with step("embed"):
                rows = self.embedder.encode_query(unknown)
            rows = check_vectors(rows, rows=len(unknown), dim=dim)
            vectors |= zip(unknown, rows, strict=True)
        with self._cache_lock:
            for text in unknown:
                self._cache.put(text, _Vector(text, vectors[text].copy()))
        return np.array([vectors[text] for text in texts], np.float32).reshape(len(texts), dim)

    def scrub(self) -> tuple[str, ...]:
        """Drop recent queries, and rewrite the index files; see `LedgerVectors.scrub`."""
        with self._cache_lock:
            self._cache.clear()
        return self.vectors.scrub()

    def close(self) -> None:
        """Stop what runs in the background. Searches that are under way may finish."""
        with self._loading:
            if self._vectors is not None:
                self._vectors.close()

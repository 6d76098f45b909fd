"""A vector index of your own: FAISS's HNSW graph, and exact search where few may be found.

    python examples/own_vector_index.py

`memkit.testing.MutableVectorIndexContract` has the tests that every index should pass.
"""

import tempfile

import faiss
import numpy as np

from memkit import Memory
from memkit.testing import HashingEmbedder

Array = np.ndarray  # keys (n,), vectors (n, dim)


class HnswIndex:
    """Follows a graph from neighbour to neighbour, so it looks at few of the vectors."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._rows: dict[int, Array] = {}
        self._graph: faiss.Index | None = None  # made when it is searched

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, keys: Array, vectors: Array) -> None:
        self._rows |= zip(keys.tolist(), vectors, strict=True)
        self._graph = None

    def remove(self, keys: Array) -> None:
        for key in keys.tolist():
            self._rows.pop(key, None)
        self._graph = None  # HNSW cannot let go of a vector

    def search(
        self, queries: Array, *, k: int, allowed: Array | None = None
    ) -> list[list[tuple[int, float]]]:
        if allowed is not None or k >= len(self):
            return [self._exact(query, allowed)[:k] for query in queries]
        if self._graph is None:
            self._graph = faiss.index_factory(self.dim, "IDMap,HNSW32", faiss.METRIC_INNER_PRODUCT)
            self._graph.add_with_ids(np.stack([*self._rows.values()]), np.array([*self._rows]))
        scores, keys = (array.tolist() for array in self._graph.search(queries, k))
        return [list(zip(*row, strict=True)) for row in zip(keys, scores, strict=True)]

    def _exact(self, query: Array, allowed: Array | None) -> list[tuple[int, float]]:
        keys = self._rows if allowed is None else self._rows.keys() & set(allowed.tolist())
        return sorted(((key, float(self._rows[key] @ query)) for key in keys), key=lambda p: -p[1])


if __name__ == "__main__":  # a small embedder; leave it out to use the default one
    options = {"embedder": HashingEmbedder(), "vector_index": HnswIndex}
    with tempfile.TemporaryDirectory() as folder, Memory.open(folder, **options) as memory:
        memory.add(["Nora has badge 4471.", "Emil has badge 2250.", "The lift is on floor 2."])
        print(memory.search("Which badge has Nora?", k=1)[0].text)

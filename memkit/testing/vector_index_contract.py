"""Tests that every vector index passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from memkit.protocols import MutableVectorIndex, VectorIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from memkit.protocols import Floats2d

_N, _DIM, _TOPICS = 240, 12, 6


class VectorIndexContract:
    """What every `memkit.protocols.VectorIndex` does, against exact arithmetic in float64.

    Override `make_index`; lower `recall` for an approximate index.
    """

    recall = 1.0  # share of the true nearest that a search without a filter finds

    def make_index(self, vectors: Floats2d) -> tuple[VectorIndex, NDArray[np.int64]]:
        """Make an index of unit rows, shape ``(n, dim)``; gives it with their keys, ``(n,)``."""
        raise NotImplementedError

    def test_has_a_dimension_and_a_length(self) -> None:
        index, _ = self.make_index(_vectors())
        assert (index.dim, len(index)) == (_DIM, _N)

    def test_finds_the_nearest(self) -> None:
        vectors = _vectors()
        index, keys = self.make_index(vectors)
        queries, k = _vectors(20, seed=1), 10
        hits = 0
        for query, row in zip(queries, index.search(queries, k=k), strict=True):
            exact = dict(_exact(vectors, keys, query))
            scores = [score for _, score in row]
            np.testing.assert_allclose(scores, [exact[key] for key, _ in row], atol=1e-6)
            assert scores == sorted(scores, reverse=True)
            hits += len({key for key, _ in row} & set(list(exact)[:k]))
        assert hits >= self.recall * k * len(queries)

    def test_a_batch_is_its_queries_in_order(self) -> None:
        index, _ = self.make_index(_vectors())
        queries = _vectors(7, seed=2)
        together = index.search(queries, k=5)
        for query, row in zip(queries, together, strict=True):
            (alone,) = index.search(query[None], k=5)
            assert [key for key, _ in alone] == [key for key, _ in row]

    def test_no_queries_have_no_results(self) -> None:
        index, _ = self.make_index(_vectors())
        assert index.search(np.zeros((0, _DIM), np.float32), k=3) == []

    def test_k_beyond_the_length_gives_all(self) -> None:
        index, keys = self.make_index(_vectors())
        (row,) = index.search(_vectors(1, seed=3), k=_N + 50)
        assert sorted(key for key, _ in row) == sorted(keys.tolist())

    def test_only_allowed_keys_are_found(self) -> None:
        """The true nearest of them, also where these are far from the query."""
        vectors = _vectors()
        index, keys = self.make_index(vectors)
        (query,) = _vectors(1, seed=4)
        for count in (_N // 2, _N // 20):
            farthest = [key for key, _ in _exact(vectors, keys, query)][-count:]
            (row,) = index.search(query[None], k=8, allowed=np.sort(farthest))
            assert [key for key, _ in row] == farthest[:8]

    def test_unknown_and_absent_keys_allow_nothing(self) -> None:
        index, keys = self.make_index(_vectors())
        for allowed in ([], [int(keys.max()) + 1]):
            rows = index.search(_vectors(2, seed=5), k=3, allowed=np.array(allowed, np.int64))
            assert rows == [[], []]


class MutableVectorIndexContract(VectorIndexContract):
    """What every `memkit.protocols.MutableVectorIndex` does beyond that; override `make_empty`."""

    def make_empty(self, dim: int) -> MutableVectorIndex:
        """Make an empty index, as ``Memory.open(vector_index=...)`` is given."""
        raise NotImplementedError

    def make_index(self, vectors: Floats2d) -> tuple[MutableVectorIndex, NDArray[np.int64]]:
        """Add unit rows under keys in no order, in two steps."""
        keys = np.random.default_rng(0).permutation(10 * len(vectors))[: len(vectors)]
        index = self.make_empty(vectors.shape[1])
        half = len(vectors) // 2
        index.add(keys[:half], vectors[:half])
        index.add(keys[half:], vectors[half:])
        return index, keys

    def test_is_empty_at_first(self) -> None:
        index = self.make_empty(_DIM)
        assert (index.dim, len(index)) == (_DIM, 0)
        assert index.search(_vectors(2), k=3) == [[], []]

    def test_what_is_removed_is_not_found(self) -> None:
        vectors = _vectors()
        index, keys = self.make_index(vectors)
        index.remove(keys[::2])
        assert len(index) == _N - len(keys[::2])
        (row,) = index.search(_vectors(1, seed=6), k=_N)
        assert sorted(key for key, _ in row) == sorted(keys[1::2].tolist())

    def test_removing_unknown_keys_changes_nothing(self) -> None:
        index, keys = self.make_index(_vectors())
        index.remove(np.array([int(keys.max()) + 1], np.int64))
        index.remove(np.empty(0, np.int64))
        assert len(index) == _N

    def test_a_key_that_was_removed_can_be_added_with_another_vector(self) -> None:
        vectors = _vectors()
        index, keys = self.make_index(vectors)
        (other,) = _vectors(1, seed=8)
        index.remove(keys[:1])
        index.add(keys[:1], other[None])
        ((key, score),) = index.search(other[None], k=1)[0]
        assert (key, len(index)) == (keys[0], _N)
        np.testing.assert_allclose(score, 1, atol=1e-6)


def _vectors(n: int = _N, seed: int = 0) -> Floats2d:
    """Unit rows around a few centres, as texts of a few topics have them."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(_TOPICS, _DIM))
    rows = centres[random.integers(0, _TOPICS, n)] + 0.3 * random.normal(size=(n, _DIM))
    unit: Floats2d = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _exact(
    vectors: Floats2d, keys: NDArray[np.int64], query: NDArray[np.float32]
) -> list[tuple[int, float]]:
    """The reference: every key with its inner product, nearest first."""
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    return [(int(keys[row]), float(scores[row])) for row in np.argsort(-scores)]

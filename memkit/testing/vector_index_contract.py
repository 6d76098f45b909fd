"""Tests that every vector index passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from memkit.errors import DimensionMismatchError, InvalidInputError, NonFiniteError
from memkit.protocols import VectorIndex

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

    def test_impossible_searches_are_refused(self) -> None:
        import pytest

        index, _ = self.make_index(_vectors())
        query = _vectors(1)
        impossible: list[Any] = [0, -1, 1.5, True]
        for k in impossible:
            with pytest.raises(InvalidInputError, match="`k` must be an integer of at least 1"):
                index.search(query, k=k)
        with pytest.raises(DimensionMismatchError):
            index.search(query[:, :-1], k=1)
        with pytest.raises(NonFiniteError):
            index.search(query * np.float32(np.nan), k=1)
        with pytest.raises(InvalidInputError, match="length 1"):
            index.search(query * np.float32(2), k=1)


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

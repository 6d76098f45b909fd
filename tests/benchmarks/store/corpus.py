"""Synthetic notes with synthetic vectors: what an index costs, without what an embedder costs.

The vectors lie in overlapping clusters on few of their dimensions, as those of real texts do:
uniform noise would be harder to index than anything that is stored, clusters far apart easier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from memkit.types import Draft

if TYPE_CHECKING:
    from memkit.protocols import Floats2d

DIM = 384
PER_CLUSTER = 100  # vectors around each centre
LATENT = 32  # dimensions that carry meaning; the others follow from them
SPREAD = 0.5  # of a vector around its centre, whose standard deviation is 1
NOISE = 0.1  # in all dimensions, relative to what carries meaning
KEPT = 0.01  # share of the notes that the filter lets pass
WORDS = 20_000  # vocabulary of the notes
LENGTH = 12  # words of a note
BLOCK = 10_000


class Corpus:
    """Notes by number, the same in every run.

    Args:
        size: How many notes.
        queries: How many queries, from the same clusters.
    """

    def __init__(self, size: int, queries: int) -> None:
        random = np.random.default_rng(0)
        centres = random.standard_normal((max(1, size // PER_CLUSTER), LATENT), dtype=np.float32)
        carry = random.standard_normal((LATENT, DIM), dtype=np.float32) / LATENT**0.5
        self.vectors: Floats2d = np.empty((size, DIM), np.float32)
        for start in range(0, size, BLOCK):
            rows = self.vectors[start : start + BLOCK]
            rows[:] = _around(centres, carry, len(rows), random)
        self.queries = _around(centres, carry, queries, random)
        self.passes_filter: NDArray[np.bool_] = random.random(size) < KEPT
        self.nearest = cache(self._nearest)

    def __len__(self) -> int:
        return len(self.vectors)

    def text(self, number: int) -> str:
        """The words of a note, its number first."""
        drawn = np.random.default_rng(number).zipf(1.3, LENGTH) % WORDS
        return f"note {number} " + " ".join(f"w{word}" for word in drawn)

    def drafts(self, start: int, end: int) -> list[Draft]:
        """Notes as records; those that the filter lets pass say so."""
        return [
            Draft(self.text(n), id=f"n{n}", metadata={"kept": bool(self.passes_filter[n])})
            for n in range(start, end)
        ]

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Bounds of the blocks in which notes are added."""
        for start in range(0, len(self), BLOCK):
            yield start, min(start + BLOCK, len(self))

    def query(self, number: int) -> str:
        """A query in words: three of a note's, behind the number that leads to its vector."""
        return f"query {number} " + " ".join(self.text(number).split()[2:5])

    def _nearest(self, number: int, k: int, *, filtered: bool) -> frozenset[int]:
        """The notes that are nearest to a query, by comparing all of them."""
        scores = self.vectors @ self.queries[number]
        if filtered:
            scores = np.where(self.passes_filter, scores, -np.inf)
        return frozenset(np.argpartition(-scores, k)[:k].tolist())


class KnownVectors:
    """An embedder that looks a text's vector up by the number in it.

    Args:
        corpus: Whose texts it gets.
    """

    name = "known vectors"
    dim = DIM

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def encode_document(self, texts: Sequence[str], /) -> Floats2d:
        """Vectors of notes and of queries."""
        kinds = {"note": self._corpus.vectors, "query": self._corpus.queries}
        split = [text.split(maxsplit=2) for text in texts]
        return np.array([kinds[kind][int(number)] for kind, number, *_ in split], np.float32)

    encode_query = encode_document


class HashedVectors:
    """An embedder that draws a vector for each text: the same for the same text, near to no other.

    Attributes:
        name: As asked for.
        dim: Length of a vector.
    """

    def __init__(self, dim: int = 64, name: str = "hashed vectors") -> None:
        self.dim, self.name = dim, name

    def encode_document(self, texts: Sequence[str], /) -> Floats2d:
        """Vectors drawn from the texts' checksums."""
        drawn = [np.random.default_rng(crc32(t.encode())).standard_normal(self.dim) for t in texts]
        rows = np.array(drawn, np.float32).reshape(len(texts), self.dim)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    encode_query = encode_document


def _around(
    centres: Floats2d, carry: Floats2d, count: int, random: np.random.Generator
) -> Floats2d:
    meant = centres[random.integers(0, len(centres), count)]
    meant += SPREAD * random.standard_normal((count, LATENT), dtype=np.float32)
    rows: Floats2d = meant @ carry
    rows += NOISE * random.standard_normal((count, DIM), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows

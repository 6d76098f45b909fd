"""An embedder of your own: letters in threes, so that words with typing errors are still near.

    python examples/own_embedder.py

`memkit.testing.EmbedderContract` has the tests that every embedder should pass. A client of a
hosted embedding model has the same four members; its name must change whenever its vectors do.
"""

import tempfile
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from memkit import Memory


class Trigrams:
    """Counts groups of three letters; rows are of length 1."""

    name = "trigrams-512"
    dim = 512

    def encode_query(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        return self.encode_document(texts)

    def encode_document(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            padded = f"  {text.lower()} "
            for start in range(len(padded) - 2):
                row[crc32(padded[start : start + 3].encode()) % self.dim] += 1.0
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


options = {"backends": ["rag"], "embedder": Trigrams()}
with tempfile.TemporaryDirectory() as folder, Memory.open(folder, **options) as memory:
    memory.add(["The archive is in the boiler house.", "The canteen opens at noon."])
    hit = memory.search("Where is the arhcive boyler?", k=1)[0]
    print(f"{hit.similarity:.2f} {hit.text}")
    print(memory.stats().embedder)

"""Feature hashing: which words a text has, as a unit vector."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def hashed(words: Iterable[str], dim: int) -> NDArray[np.float32]:
    """Give the bag of some words, at least one, as a unit vector of shape ``(dim,)``.

    Each word goes to a signed coordinate that is a hash of it, the same on every machine. So bags
    that share words are similar, and others hardly ever are.
    """
    row = np.zeros(dim, dtype=np.float32)
    for word in words:
        digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
        row[int.from_bytes(digest[:7]) % dim] += 1.0 if digest[7] % 2 else -1.0
    if not row.any():  # words of opposite sign may cancel out
        row[0] = 1.0
    unit: NDArray[np.float32] = row / np.linalg.norm(row)
    return unit

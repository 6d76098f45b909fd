"""Exact inner-product search over unit vectors: FAISS with checked arguments.

FAISS answers a wrong dimension with an empty ``AssertionError``, a missing neighbour with the
id -1, counts a NaN row but never finds it, and may parse a damaged file as if it were whole.
This module raises errors that say so, and keeps a file format of its own: plain arrays under a
checksum, so that no foreign file ever reaches FAISS's parser.
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from memkit.errors import (
    CorruptFileError,
    DimensionMismatchError,
    InvalidInputError,
    NonFiniteError,
    storage_errors,
)
from memkit.files import make_folder, plain_file, replace_file
from memkit.types.validate import check_limit

if TYPE_CHECKING:
    from memkit.protocols import Floats2d

Mask = NDArray[np.bool_]  # which keys take part: one place for each key from 0 on

MASKED = 2**26  # keys up to here, as a ledger's are, are selected by a mask of all of them
FEW = 4  # queries that are searched for without FAISS's threads
NORM_TOLERANCE = 1e-3  # a unit row in float32, or computed in float16, is well within it

_MAGIC = b"memkit-dense-01\n"
_HEADER = struct.Struct("<16sqqq32s")  # magic, stamp, dimension, rows, SHA-256 of all the rest


def check_vectors(vectors: ArrayLike, *, rows: int, dim: int) -> Floats2d:
    """Let only what an embedder promises pass: finite unit rows of the right shape.

    Returns:
        The vectors, shape ``(rows, dim)``, float32, C-contiguous.

    Raises:
        DimensionMismatchError: If the rows have another length.
        NonFiniteError: If there is a NaN or an infinity.
        InvalidInputError: If the number of rows is wrong or a row is not of unit length.
    """
    array: Floats2d = np.ascontiguousarray(vectors, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != dim:
        raise DimensionMismatchError(
            f"expected vectors of shape ({rows}, {dim}), got {array.shape}"
        )
    if len(array) != rows:
        raise InvalidInputError(
            f"expected one vector for each of {rows} texts, got {len(array)}",
            hint="An embedder returns one row per text, in order.",
        )
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array).all(axis=1)).argmax())
        raise NonFiniteError(f"expected finite vectors, but row {bad} holds NaN or infinity")
    norms = np.linalg.norm(array, axis=1)
    if (abs(norms - 1) > NORM_TOLERANCE).any():
        worst = float(norms[abs(norms - 1).argmax()])
        raise InvalidInputError(
            f"expected vectors of length 1, got one of length {worst:.6g}",
            hint="An embedder returns unit rows; divide each by its Euclidean norm.",
        )
    return array


def check_search(queries: ArrayLike, *, k: int, dim: int) -> Floats2d:
    """Let only a search pass that can be answered.

    Raises:
        InvalidInputError: If ``k`` is below 1, or a query is not of unit length;
            `DimensionMismatchError` and `NonFiniteError` are its special cases.
    """
    check_limit("k", k)
    return check_vectors(queries, rows=len(np.asarray(queries)), dim=dim)


class FlatIndex:
    """Searches all vectors, exactly; implements `memkit.protocols.VectorIndex`."""

    def __init__(self, dim: int) -> None:
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(dim))
        self._keys: set[int] = set()

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return int(self._index.d)

    @property
    def keys(self) -> NDArray[np.int64]:
        """The keys, in no order; shape ``(n,)``."""
        return np.fromiter(self._keys, np.int64, len(self._keys))

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: int) -> bool:
        return key in self._keys

    def add(self, keys: NDArray[np.int64], vectors: Floats2d) -> None:
        """Take vectors in: unit rows, shape ``(n, dim)``, under new keys, shape ``(n,)``.

        Raises:
            InvalidInputError: If a key is negative, repeated or already there, or the vectors
                are not what `check_vectors` expects.
        """
        keys = np.ascontiguousarray(keys, dtype=np.int64)
        vectors = check_vectors(vectors, rows=len(keys), dim=self.dim)
        fresh = set(keys.tolist())
        # FAISS would take a key twice and then find two vectors under it; -1 is its "nothing".
        if len(fresh) < len(keys) or fresh & self._keys or (keys < 0).any():
            raise InvalidInputError("expected `keys` that are new to the index, each once, >= 0")
        if fresh:
            self._index.add_with_ids(vectors, keys)
            self._keys |= fresh

    def remove(self, keys: NDArray[np.int64]) -> int:
        """Take out the vectors of those of the keys that are in the index; returns how many."""
        # FAISS walks through the whole index even if there is nothing to remove.
        present = self._keys.intersection(np.asarray(keys, dtype=np.int64).tolist())
        if present:
            self._index.remove_ids(_select(np.fromiter(present, np.int64, len(present))))
            self._keys -= present
        return len(present)

    def search(
        self, queries: Floats2d, *, k: int, allowed: NDArray[np.int64] | None = None
    ) -> list[list[tuple[int, float]]]:
        """Search exactly; see `memkit.protocols.VectorIndex.search`. Equal ones come by key."""
        queries = check_search(queries, k=k, dim=self.dim)
        if not self._keys or not len(queries):
            return [[] for _ in queries]
        params = None
        if allowed is not None:
            parameters: Any = faiss.SearchParameters  # its type stub does not know the keyword
            params = parameters(sel=_select(allowed))
        rows = self._rows(queries, k + 1, params)
        return [
            self._break_ties(query[None], k, row, params)
            for query, row in zip(queries, rows, strict=True)
        ]

    def _rows(
        self, queries: Floats2d, fetch: int, params: faiss.SearchParameters | None
    ) -> list[list[tuple[int, float]]]:
        """The nearest ``fetch`` of each query, as `ranked` gives them."""
        scores, keys = search(self._index, queries, min(fetch, len(self)), params)
        return ranked(keys, scores)

    def _break_ties(
        self,
        query: Floats2d,
        k: int,
        row: list[tuple[int, float]],
        params: faiss.SearchParameters | None,
    ) -> list[tuple[int, float]]:
        """Cut to ``k``, looking further while it is open which of equal scores belong there."""
        fetch = k + 1
        while len(row) == fetch and row[k - 1][1] == row[-1][1]:
            fetch *= 2
            row = self._rows(query, fetch, params)[0]
        return row[:k]

    def rows(self) -> tuple[NDArray[np.int64], Floats2d]:
        """All keys, shape ``(n,)``, and their vectors, shape ``(n, dim)``, in one order."""
        keys = faiss.vector_to_array(self._index.id_map)
        return keys, self._index.index.reconstruct_n(0, len(self))

    def save(self, path: Path, stamp: int) -> None:
        """Write the index to a file, which is either replaced whole or left as it was.

        There is one temporary file beside it, so writers must take turns. The ``stamp`` is a number
        to find again when the file is loaded.
        """
        keys = faiss.vector_to_array(self._index.id_map).astype("<i8", copy=False)
        vectors = self._index.index.reconstruct_n(0, len(self)).astype("<f4", copy=False)
        body = (keys.data, vectors.data)
        header = _HEADER.pack(_MAGIC, stamp, *vectors.shape[::-1], bytes(32))
        header = header[:-32] + _digest(header, *body)
        with storage_errors(path):
            make_folder(path.parent)
            replace_file(path, (header, *body))

    @classmethod
    def load(cls, path: Path) -> tuple[Self, int]:
        """Read back what `save` wrote: the index, and the stamp it was saved with.

        Raises:
            CorruptFileError: If the file was cut, altered or written by something else.
            UnsafePathError: If it is no plain file.
        """
        with storage_errors(path):
            data = memoryview(plain_file(path).read_bytes())
        if len(data) < _HEADER.size:
            raise CorruptFileError(f"expected an index in {path}, got {len(data)} bytes")
        magic, stamp, dim, rows, digest = _HEADER.unpack(data[: _HEADER.size])
        body = data[_HEADER.size :]
        header = bytes(data[: _HEADER.size - 32]) + bytes(32)
        if (
            magic != _MAGIC
            or dim < 1
            or len(body) != rows * (8 + 4 * dim)
            or digest != _digest(header, body)
        ):
            raise CorruptFileError(f"{path} is damaged: its length or its checksum is wrong")
        index = cls(dim)
        keys = np.frombuffer(body[: 8 * rows], dtype="<i8")
        try:
            index.add(keys, np.frombuffer(body[8 * rows :], dtype="<f4").reshape(rows, dim))
        except InvalidInputError as exc:
            raise CorruptFileError(f"{path} holds no valid vectors: {exc.message}") from exc
        return index, stamp


def search(
    index: faiss.Index, queries: Floats2d, k: int, params: faiss.SearchParameters | None
) -> tuple[Floats2d, NDArray[np.int64]]:
    """FAISS's search, of a few queries in this thread alone.

    On a busy machine threads wait for each other far longer than they save.
    """
    threads = faiss.omp_get_max_threads()
    if len(queries) <= FEW:
        faiss.omp_set_num_threads(1)
    try:
        scores, keys = index.search(queries, k, params=params)
    finally:
        faiss.omp_set_num_threads(threads)
    return scores, keys


def ranked(keys: NDArray[np.int64], scores: Floats2d) -> list[list[tuple[int, float]]]:
    """FAISS's answer, shape ``(b, k)``, nearest first, then by key; without "nothing" entries."""
    return [
        sorted(
            ((key, score) for key, score in zip(*row, strict=True) if key != -1),
            key=lambda pair: (-pair[1], pair[0]),
        )
        for row in zip(keys.tolist(), scores.tolist(), strict=True)
    ]


def mask(keys: NDArray[np.int64], size: int) -> Mask:
    """Keys as a mask of shape ``(size,)``; those that do not fit in are left out."""
    chosen = np.zeros(size, bool)
    chosen[keys[(keys >= 0) & (keys < size)]] = True
    return chosen


def selector(allowed: Mask) -> faiss.IDSelector:
    """The keys that are True in a mask, as FAISS asks for them at the least cost: as bits."""
    bitmap: Any = faiss.IDSelectorBitmap  # its type stub wants a pointer
    return cast("faiss.IDSelector", bitmap(np.packbits(allowed, bitorder="little")))


def _select(keys: NDArray[np.int64]) -> faiss.IDSelector:
    top = int(keys.max(initial=-1)) + 1
    if top > MASKED:
        return faiss.IDSelectorBatch(np.ascontiguousarray(keys, np.int64))
    return selector(mask(keys, top))


def _digest(*parts: bytes | memoryview) -> bytes:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.digest()

"""An IVF index in a file that is mapped into memory and read where it is needed.

IVF is the inverted file (Jégou, Douze & Schmid, "Product Quantization for Nearest Neighbor Search",
TPAMI 2011, section IV), here without quantization: k-means cuts the vectors into lists, and a
query is compared only with the lists whose centroids are nearest. How many lists that takes is
measured when the index is built (`memkit.rag.vectors.ivf_build`), on the vectors themselves.

There are two files. ``*.lists`` holds list after list, the vectors and then the keys of each, as
FAISS's `OnDiskInvertedLists` maps them; nothing in it is parsed. ``clusters.head`` holds the
centroids, the lengths and a checksum of every list, under a checksum of its own, and is
replaced whole. Vectors are never added: later ones are in `memkit.rag.vectors.tiered`. Forgotten
ones are overwritten in place.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import faiss
import numpy as np
from numpy.typing import NDArray

from memkit.errors import CorruptFileError, storage_errors
from memkit.files import own_file, own_folder, plain_file, replace_file
from memkit.ledger.stored_paths import CLUSTERS
from memkit.rag.vectors.flat import Mask, check_search, mask, ranked, search, selector

if TYPE_CHECKING:
    from memkit.protocols import Floats2d

    Keys = NDArray[np.int64]

HEAD = CLUSTERS
EXACT = 20_000  # up to so many vectors, or so many that a filter lets pass, all are compared
DIGEST = 16  # bytes of a checksum: of BLAKE2b, enough against accidents

_MAGIC = b"memkit-lists-01\n"
_LONGEST = 1 << 48  # bytes of all lists; no sum of lengths then overflows
_KEYS = 1 << 32  # one more than the greatest key there can be; masks are as long as that
_FIXED = struct.Struct(f"<16sqqqqqq16s{DIGEST}s")


@dataclass(frozen=True)
class Head:
    """The lists' description, which is read without reading them.

    Attributes:
        stamp: The last change of the ledger's feed that was taken in.
        probes: How many lists a search looks into.
        trained_on: How many vectors there were when the centroids were computed.
        top: One more than the greatest key.
        name: Tells the file of lists, and no other, to belong to this head.
        centroids: Unit rows, or zeros for a list that was emptied; shape ``(lists, dim)``.
        sizes: Vectors in each list, shape ``(lists,)``.
        digests: Checksum of each list, shape ``(lists, DIGEST)``, bytes.
    """

    stamp: int
    probes: int
    trained_on: int
    top: int
    name: bytes
    centroids: Floats2d
    sizes: NDArray[np.int64]
    digests: NDArray[np.uint8]

    @property
    def lists(self) -> int:
        """How many lists there are."""
        return len(self.sizes)

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return int(self.centroids.shape[1])

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where each list begins in the file, and where the last one ends, in bytes."""
        return np.concatenate([[0], np.cumsum(self.sizes * row_bytes(self.dim))])

    @property
    def file(self) -> str:
        """Name of the file that holds the lists."""
        return f"{self.name.hex()}.lists"

    def pack(self) -> bytes:
        """As bytes, under a checksum."""
        numbers = (self.stamp, self.probes, self.trained_on, self.top, self.lists, self.dim)
        body = b"".join(
            (
                np.ascontiguousarray(self.centroids, "<f4").tobytes(),
                np.ascontiguousarray(self.sizes, "<i8").tobytes(),
                self.digests.tobytes(),
            )
        )
        blank = _FIXED.pack(_MAGIC, *numbers, self.name, bytes(DIGEST))
        return blank[:-DIGEST] + digest(blank + body) + body

    @classmethod
    def unpack(cls, data: bytes, path: Path) -> Self:
        """From bytes.

        Raises:
            CorruptFileError: If they were cut, altered or written by something else.
        """
        damaged = CorruptFileError(f"{path} is damaged: its length or its checksum is wrong")
        if len(data) < _FIXED.size:
            raise damaged
        magic, stamp, probes, trained_on, top, lists, dim, name, checksum = _FIXED.unpack_from(data)
        body = data[_FIXED.size :]
        blank = data[: _FIXED.size - DIGEST] + bytes(DIGEST)
        if magic != _MAGIC or checksum != digest(blank + body):
            raise damaged
        if not (lists > 0 and dim > 0 and len(body) == lists * (4 * dim + 8 + DIGEST)):
            raise damaged
        edges = (lists * dim * 4, lists * (4 * dim + 8))
        centroids, sizes, digests = body[: edges[0]], body[edges[0] : edges[1]], body[edges[1] :]
        counts: list[int] = np.frombuffer(sizes, "<i8").tolist()
        vectors = sum(counts)
        if (
            min(counts) < 0
            or vectors * row_bytes(dim) >= _LONGEST
            or not (stamp >= 0 and 0 < probes <= lists and vectors <= top <= _KEYS)
        ):
            raise CorruptFileError(f"{path} has numbers that cannot be those of an index")
        return cls(
            stamp=stamp,
            probes=probes,
            trained_on=trained_on,
            top=top,
            name=name,
            centroids=np.frombuffer(centroids, "<f4").reshape(lists, dim),
            sizes=np.frombuffer(sizes, "<i8"),
            digests=np.frombuffer(digests, np.uint8).reshape(lists, DIGEST),
        )


class IvfIndex:
    """The vectors of one head; implements `memkit.protocols.VectorIndex`, approximately.

    Raises:
        CorruptFileError: If the file of lists is missing or of another length.
    """

    def __init__(self, folder: Path, head: Head) -> None:
        self.head = head
        self._folder = folder
        self._path = plain_file(folder / head.file)
        size = int(head.offsets[-1])
        if not self._path.exists():
            raise CorruptFileError(f"{self._path} is missing")
        if self._path.stat().st_size != size:
            raise CorruptFileError(
                f"expected {size} bytes in {self._path}, got {self._path.stat().st_size}"
            )
        # FAISS does not keep the parts that it is given.
        self._index, self._engine = _mapped(self._path, head)

    @classmethod
    def open(cls, folder: Path) -> Self | None:
        """Open what a folder holds; None if it holds no head.

        Reads the head only: `verify` reads the rest.

        Raises:
            CorruptFileError: If the head is damaged, or the lists are not those it describes.
        """
        path = own_folder(folder) / HEAD
        with storage_errors(path):
            if not plain_file(path).exists():
                return None
            return cls(folder, Head.unpack(path.read_bytes(), path))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self.head.dim

    @property
    def bytes(self) -> int:
        """Length of the file of lists."""
        return int(self.head.offsets[-1])

    def search(
        self, queries: Floats2d, *, k: int, allowed: Keys | None = None
    ) -> list[list[tuple[int, float]]]:
        """Find vectors near each query; see `memkit.protocols.VectorIndex.search`."""
        queries = check_search(queries, k=k, dim=self.dim)
        chosen = None if allowed is None else mask(allowed, self.head.top)
        return self.search_masked(queries, k=k, allowed=chosen)

    def search_masked(
        self, queries: Floats2d, *, k: int, allowed: Mask | None = None
    ) -> list[list[tuple[int, float]]]:
        """As `search`, without its checks, and among the keys of a mask of shape ``(top,)``.

        Where few are allowed, all of these are compared. Where many are, the search looks four
        times as far until that changes nothing: what a filter lets pass may lie anywhere.
        """
        wanted = len(self) if allowed is None else int(allowed.sum())
        k = min(k, wanted)
        if not k:
            return [[] for _ in queries]
        few = allowed is not None and wanted <= EXACT
        probes = self.head.lists if few else self.head.probes
        rows = self.probe(queries, k, probes, allowed)
        while probes < self.head.lists:
            before, full = rows, all(len(row) == k for row in rows)
            if full and allowed is None:
                break
            probes = min(4 * probes, self.head.lists)
            rows = self.probe(queries, k, probes, allowed)
            if full and rows == before:
                break
        return rows

    def probe(
        self, queries: Floats2d, k: int, probes: int, allowed: Mask | None = None
    ) -> list[list[tuple[int, float]]]:
        """As `search_masked`, in the nearest ``probes`` lists only; may find fewer than ``k``."""
        parameters: Any = faiss.SearchParametersIVF  # its type stub does not know the keywords
        sel = None if allowed is None else selector(allowed)
        scores, keys = search(self._index, queries, k, parameters(nprobe=probes, sel=sel))
        return ranked(keys, scores)

    def rows(self, numbers: NDArray[np.int64]) -> Floats2d:
        """Vectors by their place in the file, shape ``(n, dim)``; ``numbers`` ascending."""
        starts = np.concatenate([[0], np.cumsum(self.head.sizes)])
        parts = [
            vectors[numbers[(numbers >= start) & (numbers < end)] - start]
            for start, end, (vectors, _) in zip(starts[:-1], starts[1:], self.lists(), strict=True)
        ]
        return np.concatenate(parts)

    def assignment(self) -> NDArray[np.int32]:
        """The list that each key is in, shape ``(top,)``; -1 for a key that is in none."""
        lists = np.full(self.head.top, -1, np.int32)
        for number, (_, keys) in enumerate(self.lists()):
            lists[keys] = number
        return lists

    def verify(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Read all lists and compare them with their checksums, unless it is told to stop.

        Raises:
            CorruptFileError: If a list was altered.
        """
        for number, (vectors, keys) in enumerate(self.lists()):
            if stopped():
                return
            if list_digest(vectors, keys) != self.head.digests[number].tobytes():
                raise CorruptFileError(f"list {number} in {self._path} is damaged")

    def erase(self, keys: NDArray[np.int64], *, anew: bool = False) -> None:
        """Overwrite vectors with zeros, in the file; `save_head` is to follow.

        The centroids of their lists are computed again from the vectors that are left: that of a
        small list would be close to what was erased. ``anew`` also does so where the vectors are
        zeros already. A crash before `save_head` leaves lists that do not match the head, and so
        an index that is rebuilt.
        """
        own_file(self._path)
        removed = mask(keys, self.head.top)
        digests, centroids = self.head.digests.copy(), self.head.centroids.copy()
        with storage_errors(self._path):
            for number, (vectors, own) in enumerate(self.lists("r+") if removed.any() else ()):
                rows = np.flatnonzero(removed[own])
                if len(rows) and (anew or vectors[rows].any()):
                    vectors[rows] = 0
                    centroids[number] = mean_direction(vectors)
                    cast("np.memmap[Any, Any]", vectors).flush()
                    digests[number] = np.frombuffer(list_digest(vectors, own), np.uint8)
        if not np.array_equal(centroids, self.head.centroids):
            self.head = replace(self.head, digests=digests, centroids=centroids)
            self._index, self._engine = _mapped(self._path, self.head)
        self.head = replace(self.head, digests=digests)

    def remembers(self, keys: NDArray[np.int64]) -> bool:
        """Whether vectors are left in the file, or in the centroids of their lists."""
        removed = mask(keys, self.head.top)
        for number, (vectors, own) in enumerate(self.lists() if removed.any() else ()):
            rows = np.flatnonzero(removed[own])
            if len(rows) and (
                vectors[rows].any()
                or not np.array_equal(self.head.centroids[number], mean_direction(vectors))
            ):
                return True
        return False

    def save_head(self) -> None:
        """Write the head: from here on, this is the folder's index."""
        path = self._folder / HEAD
        with storage_errors(path):
            replace_file(path, (self.head.pack(),))

    def lists(self, mode: Literal["r", "r+"] = "r") -> Iterator[tuple[Floats2d, Keys]]:
        """The vectors ``(n, dim)`` and the keys ``(n,)`` of every list, as maps of the file."""
        return map_lists(self._path, self.head.sizes, self.head.dim, mode)


def mean_direction(vectors: Floats2d) -> NDArray[np.float32]:
    """The mean of vectors, of length 1; zeros if it has none. Shape ``(dim,)``."""
    total = vectors.sum(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    mean: NDArray[np.float32] = (total / length if length else total).astype(np.float32)
    return mean


def row_bytes(dim: int) -> int:
    """What a vector and its key take in a list."""
    return 4 * dim + 8


def map_lists(
    path: Path, sizes: NDArray[np.int64], dim: int, mode: Literal["r", "r+"]
) -> Iterator[tuple[Floats2d, Keys]]:
    """Give the vectors ``(n, dim)`` and the keys ``(n,)`` of each list, as maps of a file."""
    file = np.memmap(path, np.uint8, mode) if sizes.any() else np.empty(0, np.uint8)
    offset = 0
    for size in sizes.tolist():
        keys, end = offset + 4 * dim * size, offset + size * row_bytes(dim)
        yield file[offset:keys].view("<f4").reshape(size, dim), file[keys:end].view("<i8")
        offset = end


def digest(*parts: bytes | memoryview) -> bytes:
    """A checksum over parts, one after the other."""
    state = hashlib.blake2b(digest_size=DIGEST)
    for part in parts:
        state.update(part)
    return state.digest()


def list_digest(vectors: Floats2d, keys: NDArray[np.int64]) -> bytes:
    """The checksum of one list."""
    return digest(np.ascontiguousarray(vectors).data, np.ascontiguousarray(keys).data)


def _mapped(path: Path, head: Head) -> tuple[faiss.IndexIVFFlat, tuple[object, ...]]:
    """FAISS's search over the lists, which stay in the file until they are looked at."""
    dim, code = head.dim, 4 * head.dim
    quantizer = faiss.IndexFlatIP(dim)
    quantizer.add(np.array(head.centroids, np.float32))
    lists = faiss.OnDiskInvertedLists(head.lists, code, str(path))
    lists.read_only = True
    lists.prefetch_nthread = 0  # by default, each search starts 32 threads
    sizes = np.array(head.sizes, np.uint64)
    lists.set_all_lists_sizes(faiss.swig_ptr(sizes))
    lists.totsize = int(head.offsets[-1])
    if lists.totsize:
        lists.do_mmap()
    index = faiss.IndexIVFFlat(quantizer, dim, head.lists, faiss.METRIC_INNER_PRODUCT)
    index.replace_invlists(lists, False)
    index.ntotal = int(sizes.sum())
    index.is_trained = True
    return index, (quantizer, lists)

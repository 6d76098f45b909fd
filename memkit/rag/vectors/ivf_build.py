"""Builds an IVF index from the ledger's vectors, a block at a time, so that memory stays bounded.

How many lists a search probes is measured: a sample of the vectors is looked up in all lists and
in ever more of them, until enough of the true nearest ten are found. Vectors without structure
lead to a search of all lists, which is slow but exact.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import numpy as np
from numpy.typing import NDArray

from memkit.errors import storage_errors
from memkit.files import make_folder, new_file
from memkit.ledger import Ledger
from memkit.rag.vectors.ivf import DIGEST, Head, IvfIndex, list_digest, map_lists, row_bytes

if TYPE_CHECKING:
    from memkit.protocols import Floats2d

BLOCK = 8192  # vectors that are in memory at once
PER_LIST = 48  # vectors that each centroid is computed from; FAISS asks for 39
ROUNDS = 8  # of k-means; more change the measured number of lists little
RETRAIN = 2  # centroids are kept until there are so many times the vectors they came from

SAMPLE = 100  # vectors that are looked up to measure how many lists a search needs
NEAREST = 10  # ... and how many neighbours of each
MARGIN = 2
RECALL = 0.99  # share of these neighbours that must be found

Stopped = Callable[[], bool]


class BuildStoppedError(Exception):
    """The build was told to stop; never leaves the package."""


def build(
    ledger: Ledger, folder: Path, *, earlier: Callable[[], IvfIndex | None], stopped: Stopped
) -> Head | None:
    """Write the file of lists for what the ledger holds now.

    Changes while this runs may or may not be in it: whoever uses it replays the feed from the
    head's stamp.

    Args:
        ledger: Of its own connection, so that nobody waits for this.
        folder: Where the file goes.
        earlier: Gives the index that is current, whose centroids are kept while they fit.
        stopped: Asked now and then whether to give up.

    Returns:
        The head that belongs to the file, with ``probes`` still to be measured; None if there
        are too few vectors.

    Raises:
        BuildStoppedError: If ``stopped`` said so; nothing is left then.
        StorageError: If the file cannot be written.
    """
    stamp = ledger.passages.last_change()
    keys = ledger.passages.all_keys()
    if len(keys) < PER_LIST:
        return None
    name = secrets.token_bytes(16)
    path = folder / f"{name.hex()}.lists"
    try:
        with storage_errors(path):
            make_folder(path.parent)
            # There before anything is read: a scrub that comes while this runs removes it.
            new_file(path).close()
            centroids, trained_on, known = _centroids(ledger, keys, earlier(), stopped)
            lists = _assign(ledger, keys, centroids, known, stopped)
            head = Head(
                stamp=stamp,
                probes=1,
                trained_on=trained_on,
                top=int(keys[-1]) + 1,
                name=name,
                centroids=centroids,
                sizes=np.bincount(lists, minlength=len(centroids)).astype(np.int64),
                digests=np.zeros((len(centroids), DIGEST), np.uint8),
            )
            with path.open("r+b") as file:
                file.truncate(len(keys) * row_bytes(head.dim))
            _fill(path, head, lists, keys, _blocks(ledger, keys, stopped))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return head


def _centroids(
    ledger: Ledger, keys: NDArray[np.int64], before: IvfIndex | None, stopped: Stopped
) -> tuple[Floats2d, int, NDArray[np.int32]]:
    """Centroids, of how many vectors they were computed, and the list of each key that has one."""
    if before is not None and len(keys) <= RETRAIN * before.head.trained_on:
        return before.head.centroids, before.head.trained_on, before.assignment()
    return _train(ledger, keys, stopped), len(keys), np.full(0, -1, np.int32)


def count_lists(vectors: int) -> int:
    """How many lists so many vectors are cut into; docs/decisions/0006-index.md says why."""
    return max(1, min(round(4 * math.sqrt(vectors)), vectors // PER_LIST))


def probes_needed(index: IvfIndex) -> int:
    """Measure how many lists a search has to look into to find what a search of all finds."""
    queries = _sample(index)
    nearest = _nearest(index, queries)
    probes = 1
    while probes < index.head.lists:
        rows = index.probe(queries, NEAREST + 1, probes)
        hits = sum(
            len(near & {key for key, _ in row}) for near, row in zip(nearest, rows, strict=True)
        )
        if hits >= RECALL * sum(map(len, nearest)):
            break
        probes *= 2
    # More than the vectors themselves need: questions lie apart from what they ask for.
    return min(MARGIN * probes, index.head.lists)


def _nearest(index: IvfIndex, queries: Floats2d) -> list[set[int]]:
    """The nearest vectors of each of the index's own, without itself; reads all lists."""
    best: list[list[tuple[float, int]]] = [[] for _ in queries]
    for vectors, keys in index.lists():
        k = min(NEAREST + 1, len(keys))
        if not k:
            continue
        rows = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
        for row, scores, places in zip(best, *rows, strict=True):
            row.extend(zip(scores.tolist(), keys[places].tolist(), strict=True))
    return [{key for _, key in sorted(row)[::-1][1 : NEAREST + 1]} for row in best]


def _sample(index: IvfIndex) -> Floats2d:
    """Vectors from all over the index."""
    random = np.random.default_rng(0)
    rows = np.sort(random.choice(len(index), min(SAMPLE, len(index)), replace=False))
    return index.rows(rows)


def _blocks(
    ledger: Ledger, keys: NDArray[np.int64], stopped: Stopped
) -> Iterator[tuple[NDArray[np.int64], Floats2d]]:
    """Those of the keys that still have vectors, block by block."""
    for start in range(0, len(keys), BLOCK):
        if stopped():
            raise BuildStoppedError
        present, vectors = ledger.passages.vectors(keys[start : start + BLOCK].tolist())
        if len(present):
            yield present, vectors


def _train(ledger: Ledger, keys: NDArray[np.int64], stopped: Stopped) -> Floats2d:
    """Compute centroids from a sample."""
    lists = count_lists(len(keys))
    random = np.random.default_rng(0)
    chosen = np.sort(random.choice(keys, min(len(keys), PER_LIST * lists), replace=False))
    sample = np.concatenate([vectors for _, vectors in _blocks(ledger, chosen, stopped)])
    lists = min(lists, len(sample))
    centroids: Floats2d = sample[random.choice(len(sample), lists, replace=False)]
    for _ in range(ROUNDS):  # one at a time, to hear when it is to stop
        if stopped():
            raise BuildStoppedError
        kmeans = faiss.Kmeans(
            sample.shape[1], lists, niter=1, spherical=True, min_points_per_centroid=1
        )
        kmeans.train(sample, init_centroids=centroids)
        centroids = np.array(kmeans.centroids, np.float32)
    return centroids


def _assign(
    ledger: Ledger,
    keys: NDArray[np.int64],
    centroids: Floats2d,
    known: NDArray[np.int32],
    stopped: Stopped,
) -> NDArray[np.int32]:
    """The list of each key; computed only for those that were in none."""
    lists = np.full(int(keys[-1]) + 1, -1, np.int32)
    inside = keys[keys < len(known)]
    lists[inside] = known[inside]
    quantizer = faiss.IndexFlatIP(centroids.shape[1])
    quantizer.add(np.ascontiguousarray(centroids))
    for block, vectors in _blocks(ledger, keys[lists[keys] < 0], stopped):
        lists[block] = quantizer.search(vectors, 1)[1][:, 0]
    # A key whose vector went while this ran keeps a place: the feed will say that it is gone.
    return np.maximum(lists[keys], 0)


def _fill(
    path: Path,
    head: Head,
    lists: NDArray[np.int32],
    keys: NDArray[np.int64],
    blocks: Iterable[tuple[NDArray[np.int64], Floats2d]],
) -> None:
    """Write vectors and keys to where they belong, and the head's checksums."""
    parts = list(map_lists(path, head.sizes, head.dim, "r+"))
    order = np.argsort(lists, kind="stable")
    starts = np.concatenate([[0], np.cumsum(head.sizes)])
    places = np.empty(len(keys), np.int64)  # of each key in its list
    places[order] = np.arange(len(keys)) - starts[lists[order]]
    for number, (_, own) in enumerate(parts):
        own[:] = keys[order[starts[number] : starts[number + 1]]]
    for block, vectors in blocks:
        rows = np.searchsorted(keys, block)
        by_list = np.argsort(lists[rows])
        edges = np.flatnonzero(np.diff(lists[rows[by_list]], prepend=-1, append=-1))
        for low, high in pairwise(edges.tolist()):
            chosen = by_list[low:high]
            parts[lists[rows[chosen[0]]]][0][places[rows[chosen]]] = vectors[chosen]
    for number, (vectors, own) in enumerate(parts):
        head.digests[number] = np.frombuffer(list_digest(vectors, own), np.uint8)
    with path.open("rb") as file:
        os.fsync(file.fileno())

"""Vectors in the ledger, and the files that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memkit.errors import CorruptFileError
from memkit.ledger import Ledger
from memkit.ledger.engine.readable import whole
from memkit.ledger.stored_paths import INDEX
from memkit.rag.vectors.flat import NORM_TOLERANCE, FlatIndex
from memkit.rag.vectors.index_files import FILE
from memkit.rag.vectors.ivf_files import IvfFiles
from memkit.rag.vectors.synced_index import SyncedIndex
from memkit.types import CheckReport
from memkit.types.value import counted

_BLOCK = 4096  # vectors that are in memory at once

_Part = tuple[int, NDArray[np.int64], NDArray[np.float32]]  # of the files: stamp, keys, vectors


def check_vectors(ledger: Ledger, report: CheckReport) -> bool:
    """Each passage has one vector, finite and of length 1; returns whether that is so now."""
    dim = _dim(ledger)
    bad: list[int] | None = None  # where they cannot be read
    with report.looking_at(f"the vectors of {counted(ledger.passages.count(), 'passage')}"):
        keys = ledger.passages.all_keys()
        bad = [key for start in range(0, len(keys), _BLOCK)
               for key in _bad(ledger, keys[start : start + _BLOCK].tolist(), dim)]  # fmt: skip
        if bad:
            if report.repair:
                ledger.passages.delete_with(bad)
            report.problem(
                f"{counted(len(bad), 'passage has', 'passages have')} no vector, or one that is "
                f"not of length 1 in {dim} dimensions"
                + ("; their records are embedded anew" if report.repair else ""),
                repaired=report.repair,
            )
    with report.looking_at("the feed of changes, which indexes follow, has every passage"):
        _check_feed(ledger, report)
    if dim is not None and (unindexed := ledger.records.count_unindexed()):
        report.note(
            f"{counted(unindexed, 'record has', 'records have')} no passages yet; the next opening "
            "embeds what is missing"
        )
    return bad is not None and (report.repair or not bad)


def check_files(ledger: Ledger, report: CheckReport) -> None:
    """The files of the index lead to the ledger's vectors, which are sound."""
    dim = _dim(ledger)
    tail = ledger.directory / FILE
    if dim is None or not tail.parent.is_dir():
        return
    with report.looking_at("the index files are the ledger's"):
        fault = _fault(ledger, tail, dim)
        if fault:
            if report.repair:
                tail.unlink(missing_ok=True)
                IvfFiles(tail.parent).discard()
                index = SyncedIndex(ledger, dim)
                index.save()
                index.close()
            report.problem(f"the index files: {fault}", repaired=report.repair)


def _dim(ledger: Ledger) -> int | None:
    """The dimension of the vectors, if it is known."""
    return whole(ledger.get_meta("embedder_dim"))


def _bad(ledger: Ledger, keys: list[int], dim: int | None) -> list[int]:
    bad = []
    for key, vector in ledger.passages.stored_vectors(keys):
        if vector is None or not vector or len(vector) != 4 * (dim or len(vector) // 4):
            bad.append(key)
            continue
        norm = float(np.linalg.norm(np.frombuffer(vector, "<f4").astype(np.float64)))
        if not abs(norm - 1) <= NORM_TOLERANCE:  # NaN is neither
            bad.append(key)
    return bad


def _check_feed(ledger: Ledger, report: CheckReport) -> None:
    count = ledger.passages.count_unannounced()
    if count:
        if report.repair:
            ledger.passages.announce()
        report.problem(
            f"{counted(count, 'passage is', 'passages are')} not in the feed of changes",
            repaired=report.repair,
        )


def _fault(ledger: Ledger, tail: Path, dim: int) -> str:
    """Why the files cannot be the ledger's; empty if they can."""
    files = IvfFiles(tail.parent)
    parts: list[_Part] = []
    try:
        base = files.current()
        if base is not None:
            files.verify(base)
            parts += [(base.head.stamp, keys, vectors) for vectors, keys in base.lists()]
        if tail.exists():
            dense, stamp = FlatIndex.load(tail)
            parts.append((stamp, *dense.rows()))
    except CorruptFileError as exc:
        return exc.message
    with ledger.snapshot():  # as of now, behind the files, whatever others write meanwhile
        return _mismatch(ledger, parts, dim)


def _mismatch(ledger: Ledger, parts: Sequence[_Part], dim: int) -> str:
    last = ledger.passages.last_change()
    stamps = {stamp for stamp, _, _ in parts}
    if stamps and max(stamps) > last:
        return f"they have seen change {max(stamps)}, the ledger has only had {last}"
    # What has changed since a file was written is read from the ledger anyway.
    touched = {stamp: ledger.passages.touched(stamp, last) for stamp in stamps}
    known = np.concatenate(
        [np.empty(0, np.int64), *touched.values()] + [keys for _, keys, _ in parts]
    )
    missing = np.setdiff1d(ledger.passages.all_keys(), known)
    if parts and len(missing):
        return f"{len(missing)} vectors of the ledger are not in them"
    for stamp, keys, vectors in parts:
        newest = stamp == max(stamps)
        standing = ~np.isin(keys, touched[stamp])
        fault = _difference(ledger, keys[standing], vectors[standing], dim) if newest else ""
        if fault:
            return fault
    return ""


def _difference(
    ledger: Ledger, keys: NDArray[np.int64], vectors: NDArray[np.float32], dim: int
) -> str:
    for start in range(0, len(keys), _BLOCK):
        block = keys[start : start + _BLOCK]
        order = np.argsort(block)
        present, right = ledger.passages.vectors(block.tolist())
        if len(present) != len(block):
            return f"{len(block) - len(present)} of their vectors are not in the ledger"
        ours = vectors[start : start + _BLOCK][order]
        if ours.shape[1] != dim or not np.array_equal(ours, right):
            return "their vectors are not the ledger's"
    return ""


def remembers_removed(ledger: Ledger) -> bool:
    """Whether clusters on disk still have, or are still computed from, passages that are gone."""
    index = IvfFiles(ledger.directory / INDEX).sound()
    if index is None:
        return False
    touched = ledger.passages.touched(index.head.stamp, ledger.passages.last_change())
    return index.remembers(np.setdiff1d(touched, ledger.passages.existing(touched.tolist())))

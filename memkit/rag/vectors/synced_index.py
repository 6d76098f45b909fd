"""Keeps a vector index in step with the ledger, in memory and in files.

The ledger holds every vector; the index only makes them searchable. It follows the ledger's
feed of passage changes, so it sees what other threads and processes commit. Its files carry
the number of the last change they have seen, and are dropped when they cannot be trusted: a
rebuild from the ledger is the same walk along the feed, from the beginning.

New vectors are searched exactly (`memkit.rag.vectors.flat`). Once they are too many for a scan,
a thread puts all of them into the lists of an IVF index (`memkit.rag.vectors.ivf`), and later
ones are searched exactly beside it (`memkit.rag.vectors.tiered`). Adding writes no file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from memkit.errors import CorruptFileError, storage_errors
from memkit.files import own_folder, plain_file, temporary
from memkit.ledger import Ledger
from memkit.ledger.stored_paths import INDEX
from memkit.rag.vectors.background import BackgroundWorker
from memkit.rag.vectors.flat import FlatIndex
from memkit.rag.vectors.index_files import FILE, hold_files
from memkit.rag.vectors.ivf import EXACT, IvfIndex
from memkit.rag.vectors.ivf_build import Stopped
from memkit.rag.vectors.ivf_files import IvfFiles
from memkit.rag.vectors.ledger_vectors import LedgerVectors
from memkit.rag.vectors.tiered import TieredIndex

if TYPE_CHECKING:
    from memkit.protocols import Floats2d
    from memkit.rag.vectors.ledger_vectors import Keys

# docs/decisions/0006-index.md has the measurements behind these.
SHARE = 16  # clusters are built anew once so large a part of their vectors has come on top
CHECKED_AT_ONCE = 2**26  # bytes of clusters that opening reads through; a thread does if more

_log = logging.getLogger(__name__)


class SyncedIndex(LedgerVectors):
    """memkit's own index over the ledger's passage vectors."""

    def __init__(self, ledger: Ledger, dim: int) -> None:
        super().__init__(ledger, dim)
        self._path = ledger.directory / FILE
        self._files = IvfFiles(self._path.parent)
        self._worker = BackgroundWorker()
        self._tiers = TieredIndex(dim)
        self._saved = 0  # the last change that the file of the tail has seen; -1 if that must go
        self._next_build = EXACT  # vectors in the tail that are worth another try
        self._load()

    @property
    def index(self) -> TieredIndex:
        """Clusters, once there are many vectors, and the rest."""
        return self._tiers

    @property
    def clusters(self) -> int:
        """How many clusters the bulk of the vectors is in; 0 while all are searched exactly."""
        base = self._tiers.base
        return base.head.lists if base is not None else 0

    def sync(self) -> None:
        """Take in what was committed, and build clusters if it is much."""
        with self._lock:
            super().sync()
            waiting = len(self._tiers.tail)
            due = waiting >= self._next_build and self._ledger.writable
            if due and self._worker.start(self._build):
                self._next_build = waiting + EXACT  # if this one comes to nothing

    def _apply(self, touched: Keys, keys: Keys, vectors: Floats2d) -> None:
        self._tiers.apply(touched, keys, vectors)

    def wait(self) -> None:
        """Wait for what runs in the background, and until clusters, if any, hold everything."""
        self.sync()
        self._worker.wait()
        if self._tiers.base is not None and len(self._tiers.tail):
            self._worker.start(self._build)
            self._worker.wait()

    def save(self) -> None:
        """Write the file of the tail, if reading the changes again would take longer.

        Raises:
            StorageError: If it cannot be written.
        """
        self.sync()
        if self._saved < 0 or self._stamp - self._saved > len(self._tiers.tail) // SHARE:
            with self._writing():
                self._write()

    def close(self) -> None:
        """Stop what runs in the background."""
        self._worker.close()

    def scrub(self) -> tuple[str, ...]:
        """Write the files anew without what was deleted, or remove them if nothing is left.

        Returns:
            Paths of the files that were rewritten or removed, relative to the memory.

        Raises:
            StorageError: If that cannot be done.
        """
        with self._writing():
            with storage_errors(self._path):
                existed = self._path.exists()
                temporary(self._path).unlink(missing_ok=True)
                if not len(self._tiers.tail):
                    self._path.unlink(missing_ok=True)
            if existed and len(self._tiers.tail):
                self._write()
            files = [FILE.as_posix()] if existed else []
            base = self._files.scrub(self._removed_since)
            if base is None:
                return tuple(files)
            if self._tiers.base is not None and self._tiers.base.head.name == base.head.name:
                self._tiers.base = base  # with the centroids that were computed again
            return (*files, f"{INDEX}/{base.head.file}")

    def _removed_since(self, stamp: int) -> NDArray[np.int64]:
        """Keys that were removed after a change of the feed."""
        touched = self._ledger.passages.touched(stamp, self._stamp)
        there = self._ledger.passages.existing(touched.tolist())
        return np.setdiff1d(touched, there)

    def _write(self) -> None:
        self._tiers.tail.save(self._path, self._stamp)
        self._saved = self._stamp

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the files, in step with the ledger.

        Only a process that catches up while it holds the files may write them: otherwise it
        could bring back a vector that another process has just scrubbed.
        """
        self._ledger.check_place()
        with hold_files(self._path), self._lock:
            self.sync()
            yield

    # -- in the background

    def _build(self, stopped: Stopped) -> None:
        """Put all vectors into clusters, or stand on those that another process has built."""
        with self._files.building() as ours:
            if not ours:
                return
            before = self._tiers.base
            index = self._files.sound()
            if index is not None and (before is None or index.head.stamp > before.head.stamp):
                self._adopt_base(index)
                return
            self._ledger.check_place()
            with closing(Ledger.open(self._ledger.place, create=False)) as ledger:
                self._ledger.check_place()  # it is the same one
                index = self._files.create(ledger, stopped)
            if index is None:
                return
            with self._writing():
                # A scrub has removed the file if it may hold what was forgotten meanwhile.
                if self._files.publish(index, self._removed_since(index.head.stamp)):
                    self._adopt_base(index)
                    self._write()

    def _adopt_base(self, index: IvfIndex) -> None:
        with self._lock:
            self.sync()
            touched = self._ledger.passages.touched(index.head.stamp, self._stamp)
            self._tiers.rebase(index, touched)
            self._next_build = max(EXACT, len(index) // SHARE)
        _log.info("%d vectors are searched in %d clusters", len(index), index.head.lists)

    def _check(self, index: IvfIndex, stopped: Stopped) -> None:
        """Read clusters through; start anew from the ledger if they are damaged."""
        try:
            self._files.verify(index, stopped)
        except CorruptFileError as exc:
            self._rebuild(exc.message)

    # -- opening

    def _load(self) -> None:
        """Start from the files if they can be trusted, else from nothing; then catch up."""
        own_folder(self._path.parent)
        try:
            base = self._files.current()
            distrust = self._load_tiers(base)
        except CorruptFileError as exc:
            distrust = exc.message
        if distrust:
            self._rebuild(distrust)

    def _load_tiers(self, base: IvfIndex | None) -> str:
        """Take over what the files hold; says why they cannot be the ledger's, if they cannot."""
        tail, stamp = self._load_tail(optional=base is not None)
        if base is None and tail is None:
            if self._ledger.passages.last_change():
                _log.info("no index file yet: building the index from the ledger")
            self.sync()
            return ""
        for index in (base, tail):
            if index is not None and index.dim != self._dim:
                return f"the file has vectors of dimension {index.dim}, the embedder of {self._dim}"
        last = self._ledger.passages.last_change()
        seen = max(stamp, base.head.stamp if base is not None else 0)
        if seen > last:
            return f"the file has seen change {seen}, the ledger has only had {last}"
        if tail is not None and (base is None or stamp >= base.head.stamp):
            self._tiers.tail, self._stamp, self._saved = tail, stamp, stamp
        elif base is not None:
            self._stamp = base.head.stamp
        if base is not None:
            self._tiers.rebase(base, self._ledger.passages.touched(base.head.stamp, self._stamp))
            self._next_build = max(EXACT, len(base) // SHARE)
        return self._compare_with_ledger(base)

    def _load_tail(self, *, optional: bool) -> tuple[FlatIndex | None, int]:
        """Read the file of the tail; without it, beside clusters, there is a bit more to read."""
        if not plain_file(self._path).exists():
            return None, 0
        try:
            return FlatIndex.load(self._path)
        except CorruptFileError as exc:
            if not optional:
                raise
            _log.warning("rebuilding the index from the ledger, in part: %s", exc.message)
            self._saved = -1
            return None, 0

    def _compare_with_ledger(self, base: IvfIndex | None) -> str:
        """Catch up, and say why what was loaded is not the ledger's; empty if it is."""
        self.sync()
        count = self._ledger.passages.count()
        # Another process may write between the two looks; then the count proves nothing.
        if len(self._tiers) != count and self._ledger.passages.last_change() == self._stamp:
            return f"the file leads to {len(self._tiers)} vectors, the ledger holds {count}"
        if base is not None and base.bytes <= CHECKED_AT_ONCE:
            self._files.verify(base)
        elif base is not None:
            self._worker.start(lambda stopped: self._check(base, stopped))
        return ""

    def _rebuild(self, why: str) -> None:
        _log.warning("rebuilding the index from the ledger: %s", why)
        if self._ledger.writable:
            with self._writing():
                self._files.discard()
                self._reset()
        else:
            self._reset()
        self.sync()

    def _reset(self) -> None:
        with self._lock:
            self._tiers, self._stamp, self._saved = TieredIndex(self._dim), 0, -1
            self._state = None
            self._next_build = EXACT

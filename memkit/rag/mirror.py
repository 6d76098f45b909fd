"""Keeps a dense index in step with the ledger, in memory and in a file.

The ledger holds every vector; the index only makes them searchable. It follows the ledger's
feed of passage changes, so it sees what other threads and processes commit. Its file carries
the number of the last change it has seen, and is dropped when it cannot be trusted: a rebuild
from the ledger is the same walk along the feed, from the beginning.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock, Timeout

from memkit.errors import BusyError, CorruptFileError
from memkit.ledger import Ledger
from memkit.ledger.failures import storage_errors
from memkit.rag.dense import DenseIndex, temporary
from memkit.types import ALWAYS, Metadata, Period, Scope

if TYPE_CHECKING:
    from memkit.protocols import Floats2d

FILE = Path("index", "dense.faiss")
LOCK_TIMEOUT = 30.0  # seconds; another process holds the lock for one write of the file

_log = logging.getLogger("memkit")


class Mirror:
    """The ledger's passage vectors, searchable.

    Safe across threads. Its lock is taken before the ledger's, never the other way round: do
    not call it inside ``ledger.transaction()``.

    Args:
        ledger: Where the vectors are.
        dim: Their dimension.
    """

    def __init__(self, ledger: Ledger, dim: int) -> None:
        self._ledger = ledger
        self._path = ledger.directory / FILE
        self._lock = threading.RLock()
        self._dense = DenseIndex(dim)
        self._stamp = 0  # the last change of the feed that `_dense` has seen
        self._saved = 0  # ... that the file has seen; -1 if the file must go
        self._load()

    def __len__(self) -> int:
        return len(self._dense)

    def sync(self) -> None:
        """Take in what was committed since the last time; one short query if nothing was."""
        with self._lock:
            while changes := self._ledger.passages.changes(self._stamp):
                touched = np.unique(np.array([change.passage for change in changes], np.int64))
                keys, vectors = self._ledger.passages.vectors(touched.tolist())
                self._dense.remove(touched)
                if len(keys):  # what was removed again has no vector
                    self._dense.add(keys, vectors)
                self._stamp = changes[-1].seq

    def search(
        self,
        queries: Floats2d,
        *,
        k: int,
        scope: Scope,
        where: Metadata | None,
        period: Period = ALWAYS,
    ) -> list[list[tuple[int, float]]]:
        """`DenseIndex.search` among the passages that a scope may see and filters let pass."""
        # One lock around all three: whatever enters the index later is judged by a later look
        # at who may see it.
        with self._lock:
            self.sync()
            allowed = self._ledger.passages.keys(visible_to=scope, where=where, period=period)
            return self._dense.search(queries, k=k, allowed=allowed)

    def save(self) -> None:
        """Write the file, if anything changed since it was read or written.

        Raises:
            StorageError: If it cannot be written.
        """
        self.sync()
        if self._stamp != self._saved:
            with self._writing():
                self._write()

    def scrub(self) -> tuple[str, ...]:
        """Write the file anew without what was deleted, or remove it if nothing is left.

        Returns:
            Paths of the files that were rewritten or removed, relative to the memory.

        Raises:
            StorageError: If that cannot be done.
        """
        with self._writing():
            with storage_errors(self._path):
                existed = self._path.exists()
                temporary(self._path).unlink(missing_ok=True)
                if not len(self):
                    self._path.unlink(missing_ok=True)
            if existed and len(self):
                self._write()
            return (FILE.as_posix(),) if existed else ()

    def _write(self) -> None:
        self._dense.save(self._path, self._stamp)
        self._saved = self._stamp

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the file, in step with the ledger.

        Only a process that catches up while it holds the file may write it: otherwise it could
        bring back a vector that another process has just scrubbed.
        """
        with storage_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._path.with_suffix(".lock"), timeout=LOCK_TIMEOUT)
            try:
                lock.acquire()
            except Timeout as exc:
                raise BusyError(
                    f"another process has held {lock.lock_file} for {LOCK_TIMEOUT:g} s"
                ) from exc
        try:
            with self._lock:
                self.sync()
                yield
        finally:
            lock.release()

    def _load(self) -> None:
        """Start from the file if it can be trusted, else from an empty index; then catch up."""
        dim = self._dense.dim
        if not self._path.exists():
            if self._ledger.passages.last_change():
                _log.info("no index file yet: building the index from the ledger")
            self.sync()
            return
        try:
            self._dense, self._stamp = DenseIndex.load(self._path)
            self._saved = self._stamp
            distrust = self._distrust(dim)
        except CorruptFileError as exc:
            distrust = exc.message
        if distrust:
            _log.warning("rebuilding the index from the ledger: %s", distrust)
            self._dense, self._stamp, self._saved = DenseIndex(dim), 0, -1
            self.sync()

    def _distrust(self, dim: int) -> str:
        """Why the loaded index cannot be the ledger's; empty if it can."""
        if self._dense.dim != dim:
            return f"the file has vectors of dimension {self._dense.dim}, the embedder of {dim}"
        last = self._ledger.passages.last_change()
        if self._stamp > last:
            return f"the file has seen change {self._stamp}, the ledger has only had {last}"
        self.sync()
        count = self._ledger.passages.count()
        # Another process may write between the two looks; then the count proves nothing.
        if len(self._dense) != count and self._ledger.passages.last_change() == self._stamp:
            return f"the file leads to {len(self._dense)} vectors, the ledger holds {count}"
        return ""

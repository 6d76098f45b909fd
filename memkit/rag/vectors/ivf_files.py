"""The files of the IVF index in a memory's folder: which is current, and who may change them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import Timeout
from numpy.typing import NDArray

from memkit.errors import CorruptFileError, StorageError, storage_errors
from memkit.files import file_lock, make_folder, own_folder, temporary
from memkit.ledger import Ledger
from memkit.ledger.stored_paths import DENSE, LISTS
from memkit.rag.vectors.ivf import HEAD, IvfIndex
from memkit.rag.vectors.ivf_build import Stopped, build, probes_needed

_log = logging.getLogger(__name__)


class IvfFiles:
    """The head names the one file of lists that is current; any other is a leftover.

    All but `current`, `verify` and `create` need the index's write lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def current(self) -> IvfIndex | None:
        """Open what the folder holds; see `IvfIndex.open`."""
        return IvfIndex.open(self._folder)

    def sound(self) -> IvfIndex | None:
        """As `current`, but None for what is damaged and waits to be replaced."""
        try:
            return self.current()
        except CorruptFileError:
            return None

    def verify(self, index: IvfIndex, stopped: Stopped = lambda: False) -> None:
        """Read an index through, unless it is told to stop.

        Raises:
            CorruptFileError: If it is damaged.
        """
        try:
            index.verify(stopped)
        except CorruptFileError:
            newer = self.sound()  # another process may have overwritten what was forgotten
            if newer is None or (newer.head.digests == index.head.digests).all():
                raise
            newer.verify(stopped)

    @contextmanager
    def building(self) -> Iterator[bool]:
        """Be the only one who builds; gives False if another process or thread does."""
        with storage_errors(self._folder):
            make_folder(self._folder)
            lock = file_lock(self._folder / "build.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                yield False
                return
        try:
            yield True
        finally:
            lock.release()

    def create(self, ledger: Ledger, stopped: Stopped) -> IvfIndex | None:
        """Build an index that is not current yet; None if it is given up; see `build`."""
        current = self.sound()
        self._clean(keep=current.head.file if current is not None else None)
        try:
            head = build(ledger, self._folder, earlier=self.sound, stopped=stopped)
            if head is None:
                return None
            index = IvfIndex(self._folder, head)
            index.head = replace(head, probes=probes_needed(index))
        except (FileNotFoundError, StorageError) as exc:
            if not isinstance(exc.__cause__ or exc, FileNotFoundError):
                raise
            # A scrub has removed the file, as it may hold what was forgotten meanwhile.
            _log.info("an index was given up, as something was forgotten while it was built")
            return None
        return index

    def publish(self, index: IvfIndex, removed: NDArray[np.int64]) -> bool:
        """Make a new index, without what was removed meanwhile, the current one.

        False if a scrub has removed its file.
        """
        if not (self._folder / index.head.file).exists():
            return False
        index.erase(removed, anew=True)
        index.save_head()
        self._clean(keep=index.head.file)
        return True

    def scrub(self, removed_since: Callable[[int], NDArray[np.int64]]) -> IvfIndex | None:
        """Overwrite removed vectors, and delete leftover files; gives the index as it is then.

        ``removed_since`` gives the keys that were removed since a change of the feed.
        """
        index = self.sound()
        self._clean(keep=index.head.file if index is not None else None)
        if index is None:  # a damaged head is left for the next opening to report
            return None
        index.erase(removed_since(index.head.stamp))
        index.save_head()
        return index

    def discard(self) -> None:
        """Remove all files: they are not the ledger's."""
        with storage_errors(self._folder):
            (self._folder / HEAD).unlink(missing_ok=True)
            self._clean(keep=None)

    def leftovers(self) -> list[str]:
        """Names of the files of lists, the current one as well, and of unfinished files.

        A folder of such a name is none of memkit's, and stays.
        """
        folder = own_folder(self._folder)
        lists = sorted(path for path in folder.glob("*.lists") if LISTS.fullmatch(path.name))
        drafts = [temporary(folder / name) for name in (HEAD, DENSE)]
        present = [path for path in [*lists, *drafts] if path.is_symlink() or path.exists()]
        return [path.name for path in present if path.is_symlink() or not path.is_dir()]

    def _clean(self, keep: str | None) -> None:
        with storage_errors(self._folder):
            for name in self.leftovers():
                if name != keep:
                    (self._folder / name).unlink(missing_ok=True)
